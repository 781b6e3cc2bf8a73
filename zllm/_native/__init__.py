"""The only door to the C core: turns its result codes into exceptions and its pointers into Python objects.

Every call that computes releases the interpreter lock (cffi does, in API mode).
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from zllm.errors import DamagedError, KernelError, ModelError, UsageError

try:
    from zllm._native._core import ffi, lib
except ImportError as exc:  # a checkout without its compiled extension
    raise ImportError(
        "zllm's compiled core is missing: install the package (pip install .), or pip install -e . to run in a checkout"
    ) from exc

ARITHMETIC_VERSION: int = lib.ZLLM_ARITHMETIC_VERSION
GIVEN: int = lib.ZLLM_GIVEN
CONFIG_FIELDS = ("vocab", "dim", "layers", "heads", "kv_heads", "head_dim", "ffn", "window")
VARIANT_FIELDS = ("qk", "mlp", "parallel", "positions", "embed_rows", "wide_head")
"""Of the config too, each 0 if it is missing."""
LAYER_DEFAULTS = {"k_frac": 18, "wide": 0}
EMBED_EXPONENT = 16
"""What a model file need not say."""
MATRICES = ("qkv", "o", "gate_up", "down")
_DTYPE_SIZE = {"I8": 1, "U8": 1, "I16": 2, "I32": 4, "U32": 4}
# Beside one and a half times its text: a code string of a few bytes of text that nothing predicts, and its end.
_ROOM = 1024
# Bytes of code a byte of text without a model, at most: 8 decisions of 24 bits.
_CM_WORST = 24


def kernel_names() -> list[str]:
    """Every kernel that exists anywhere, fastest first."""
    names: list[str] = []
    while lib.zllm_kernel_name(len(names)) != ffi.NULL:
        names.append(ffi.string(lib.zllm_kernel_name(len(names))).decode())
    return names


def kernel_state(name: str) -> str:
    """'usable', 'unsupported' (by this processor), 'not built' or 'unknown'."""
    codes = {
        lib.ZLLM_OK: "usable",
        lib.ZLLM_E_KERNEL_UNSUPPORTED: "unsupported",
        lib.ZLLM_E_KERNEL_NOT_BUILT: "not built",
    }
    return codes.get(lib.zllm_kernel_state(name.encode()), "unknown")


def usable_kernels() -> list[str]:
    """The kernels that can run here, fastest first."""
    return [name for name in kernel_names() if kernel_state(name) == "usable"]


def _check_kernel(name: str) -> None:
    state = kernel_state(name)
    if state == "usable":
        return
    why = {
        "unsupported": "this processor cannot run it",
        "not built": "it was not built for this processor family",
        "unknown": "there is none of that name",
    }[state]
    raise KernelError(f"kernel {name!r} was demanded, but {why}; usable here: {', '.join(usable_kernels())}")


class Cancel:
    """A flag that C polls."""

    def __init__(self) -> None:
        self._flag = ffi.new("int32_t *", 0)

    def set(self) -> None:
        """Make every call that was given this flag end soon, with :class:`KeyboardInterrupt`."""
        self._flag[0] = 1

    def is_set(self) -> bool:
        """Whether it was set."""
        return bool(self._flag[0])


class Counter:
    """Bytes of text done; C counts up, anyone may read."""

    def __init__(self) -> None:
        self._count = ffi.new("uint64_t *", 0)

    @property
    def value(self) -> int:
        """The count."""
        return int(self._count[0])


class Stages:
    """Nanoseconds per stage of coding, added up over calls; not to be shared between threads."""

    NAMES = (
        "matrix",
        "head",
        "attention",
        "quantise",
        "scale",
        "cache",
        "softmax",
        "gate",
        "weights",
        "walk",
        "mixer",
        "wait",
    )

    def __init__(self) -> None:
        self._nanoseconds = ffi.new("uint64_t[]", lib.ZLLM_STAGES)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage name."""
        return {name: ns / 1e9 for name, ns in zip(self.NAMES, self._nanoseconds, strict=True)}


def kernel_rate(name: str, rows: int = 512, cols: int = 512, batch: int = 64, repeats: int = 50) -> float:
    """Multiply-adds a second that a kernel's blocked int8 matrix product reaches on one core.

    Raises:
        KernelError: there is no such kernel here.
    """
    _check_kernel(name)
    nanoseconds = ffi.new("uint64_t *")
    _raise(lib.zllm_kernel_time(name.encode(), rows, cols, batch, repeats, nanoseconds))
    return rows * cols * batch * 1e9 / max(1, int(nanoseconds[0]))


def trim_memory() -> None:
    """Give the system back what malloc keeps for each thread: milliseconds, where malloc can do it at all."""
    lib.zllm_memory_trim()


def check_kernel(name: str) -> None:
    """Compare a kernel with the scalar code.

    Raises:
        KernelError: it gives other integers, or there is none of that name here.
    """
    _check_kernel(name)
    _raise(lib.zllm_kernel_check(name.encode()))


class RoomError(Exception):
    """A code string became longer than the room for it: text that the predictor is always wrong about."""


class Job:
    """A frame that one or several threads code together: each calls :func:`work` with its number.

    Made for 0 threads, it is worked on by :mod:`zllm._native.steps`.
    """

    def __init__(self, model: Any, frame: Any, keep: list[Any], start: int, threads: int, *, decoding: bool) -> None:
        self._frame, self._keep, self._decoding, self.threads = frame, keep, decoding, threads
        out = ffi.new("zllm_job **")
        _raise(lib.zllm_job_new(model, frame, start, threads, int(decoding), out))
        memory = lib.zllm_job_memory(model, frame.size, frame.n_streams, int(decoding))
        self._job = ffi.gc(out[0], lib.zllm_job_free, size=memory)
        self._model = model  # must outlive the job
        self.streams: int = frame.n_streams

    def result(self) -> bytes:
        """The code string, or the text. The job's memory is given back."""
        ffi.release(self._job)
        if self._decoding:
            return bytes(ffi.buffer(self._frame.data, self._frame.size))
        return bytes(ffi.buffer(self._frame.coded, self._frame.coded_size))


class Team:
    """Threads, from 1 to 256 (else UsageError), that decode one set of jobs, all at the same products: :func:`work`."""

    def __init__(self, threads: int) -> None:
        out = ffi.new("zllm_team **")
        _raise(lib.zllm_team_new(threads, out))
        self._team = ffi.gc(out[0], lib.zllm_team_free)
        self.threads = threads


def work(
    jobs: Sequence[Job],
    thread: int,
    lanes: int = 32,
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
    stages: Stages | None = None,
    team: Team | None = None,
) -> None:
    """The part of thread number ``thread``, in steps of ``lanes`` rows; several jobs only if it is their only thread.

    With a ``team``, its threads are one in this: each calls this once, with the same jobs, made for one thread.

    Raises:
        DamagedError: a code string is not one that an encoder makes.
        RoomError: there is too little room for a code string.
        UsageError: the jobs are not for such threads, lanes or teams, or not of one model and direction.
        KeyboardInterrupt: ``cancel`` was set.
    """
    run = ffi.new("zllm_run *")
    run.lanes = lanes
    run.cancel = cancel._flag if cancel else ffi.NULL
    run.progress = counter._count if counter else ffi.NULL
    run.nanoseconds = stages._nanoseconds if stages else ffi.NULL
    run.team = team._team if team else ffi.NULL
    _raise(lib.zllm_job_work(ffi.new("zllm_job *[]", [job._job for job in jobs]), len(jobs), thread, run))


class Model:
    """A checked and packed model. ``tensors`` maps a name to (dtype, shape, data), as in a ``.zlm`` file.

    Raises:
        ModelError: a tensor is missing, or has another type, shape or range than the config says.
        KernelError: the kernel that ``kernel`` or ``ZLLM_KERNEL`` demands cannot be had.
    """

    def __init__(
        self,
        config: Mapping[str, int],
        layers: Sequence[Mapping[str, int]],
        exponents: Mapping[str, int],
        tensors: Mapping[str, tuple[str, tuple[int, ...], memoryview]],
        kernel: str | None = None,
    ) -> None:
        self._tensors = tensors
        self._keep: list[Any] = []
        kernel = kernel or os.environ.get("ZLLM_KERNEL") or None
        if kernel is not None:
            _check_kernel(kernel)
        out = ffi.new("zllm_model **")
        try:
            data = self._data(config, layers, exponents)
            rc = lib.zllm_model_new(data, ffi.NULL if kernel is None else kernel.encode(), out)
        finally:  # given back at once, even on an error, whose traceback would keep them: see decoder
            for kept in self._keep:
                ffi.release(kept)
            self._keep.clear()
        if rc == lib.ZLLM_E_MODEL:
            raise ModelError(f"bad model: {ffi.string(lib.zllm_model_error()).decode()}")
        _raise(rc)
        self._model = ffi.gc(out[0], lib.zllm_model_free, size=lib.zllm_model_memory(out[0]))
        self.vocab = config["vocab"]
        self.kernel: str = ffi.string(lib.zllm_model_kernel(self._model)).decode()
        self.memory: int = lib.zllm_model_memory(self._model)
        self.stream_memory: int = lib.zllm_stream_memory(self._model)
        self._token_starts = bytes(tensors["tokens.offsets"][2])
        self._tensors = {}

    def _data(
        self, config: Mapping[str, int], layers: Sequence[Mapping[str, int]], exponents: Mapping[str, int]
    ) -> Any:
        data = ffi.new("zllm_model_data *")
        for name in CONFIG_FIELDS + VARIANT_FIELDS:
            setattr(data.config, name, _uint32({**dict.fromkeys(VARIANT_FIELDS, 0), **config}, name))
        if len(layers) != data.config.layers:
            raise ModelError("bad model: the number of layers is not the one that the config says")
        data.token_bytes, data.token_bytes_size = self._tensor("tokens.bytes", "U8", None, "uint8_t")
        data.token_offsets, _ = self._tensor("tokens.offsets", "U32", (data.config.vocab + 1,), "uint32_t")
        self._embedding(data, exponents)
        data.rope_step, _ = self._tensor("rope.step", "U32", (data.config.head_dim // 2,), "uint32_t")
        self._weights(data.head, "head", exponents)
        array_of_layers = ffi.new("zllm_layer[]", len(layers))
        self._keep.append(array_of_layers)
        for i, values in enumerate(layers):
            layer = array_of_layers[i]
            for name in MATRICES:
                self._weights(getattr(layer, name), f"layers.{i}.{name}", exponents)
            for name in ("q_gain", "k_gain"):
                self._gain(getattr(layer, name), f"layers.{i}.{name}", data.config.head_dim, exponents)
            layer.temperature_exponent = _int32(values, "temperature_exponent")
            for name in ("temperature", "v_shift", "up_frac", *LAYER_DEFAULTS):
                setattr(layer, name, _uint32({**LAYER_DEFAULTS, **values}, name))
        data.layers = array_of_layers
        return data

    def _embedding(self, data: Any, exponents: Mapping[str, int]) -> None:
        c = data.config
        rows = c.embed_rows or c.vocab
        data.embed_scale, _ = self._tensor("embed.scale", "I16", (rows,), "int16_t")
        data.embed_exponent = _int32({"embed": EMBED_EXPONENT, **exponents}, "embed")
        data.embed = self._optional("embed.q", "I8", (c.embed_rows, c.dim), "int8_t")
        data.positions = self._optional("positions", "I32", (c.positions, c.dim), "int32_t")

    def _optional(self, name: str, dtype: str, shape: tuple[int, ...], ctype: str) -> Any:
        """Whether a tensor has to be there, C knows."""
        return self._tensor(name, dtype, shape, ctype)[0] if name in self._tensors else ffi.NULL

    def _gain(self, out: Any, name: str, head_dim: int, exponents: Mapping[str, int]) -> None:
        out.gain = self._optional(name, "I16", (head_dim,), "int16_t")
        out.exponent = _int32(exponents, name) if out.gain else 0

    def _tensor(self, name: str, dtype: str, shape: tuple[int, ...] | None, ctype: str) -> tuple[Any, int]:
        if name not in self._tensors:
            raise ModelError(f"bad model: tensor {name} is missing")
        got_dtype, got_shape, view = self._tensors[name]
        size = _DTYPE_SIZE[dtype]
        for n in got_shape:
            size *= n
        if got_dtype != dtype or (shape is not None and got_shape != shape) or len(view) != size:
            raise ModelError(f"bad model: tensor {name} has type {got_dtype} and shape {got_shape}")
        # Copied when it does not start at a multiple of its element size, as C demands.
        buffer = ffi.from_buffer("char[]", view)
        if int(ffi.cast("uintptr_t", buffer)) % _DTYPE_SIZE[dtype]:
            buffer = ffi.from_buffer("char[]", bytearray(view))
        self._keep.append(buffer)
        return ffi.cast(f"{ctype} *", buffer), size

    def _weights(self, out: Any, name: str, exponents: Mapping[str, int]) -> None:
        shape = self._tensors.get(name + ".q", ("", (), memoryview(b"")))[1]
        if len(shape) != 2:
            raise ModelError(f"bad model: tensor {name}.q is missing or is no matrix")
        out.rows, out.cols = shape
        out.q, _ = self._tensor(name + ".q", "I8", shape, "int8_t")
        out.scale, _ = self._tensor(name + ".scale", "I16", shape[:1], "int16_t")
        out.bias = self._optional(name + ".bias", "I32", shape[:1], "int32_t")
        out.exponent = _int32(exponents, name)

    @functools.cached_property
    def token_lengths(self) -> array[int]:
        """Bytes of each token: array of vocab; decoders do without it."""
        starts = array("I", self._token_starts)
        return array("I", (end - start for start, end in itertools.pairwise(starts)))

    def encoder(
        self, streams: Sequence[tuple[Sequence[int], int]], start: int, threads: int = 1, room: int | None = None
    ) -> Job:
        """Codes a frame of streams, each of them (token ids, bytes of their text); an id with :data:`GIVEN` set is
        context only. ``room``: bytes for the code string; too little is :class:`RoomError` when it is worked on.

        Raises:
            UsageError: the tokens do not fit the vocabulary, a stream's size or each other.
        """
        frame, keep = _frame(len(streams), sum(size for _, size in streams))
        for item, (ids, size) in zip(keep[0], streams, strict=True):
            tokens = _uint32s(ids)
            view = ffi.from_buffer("uint32_t[]", tokens)
            keep += [tokens, view]
            item.tokens, item.n_tokens, item.size = view, len(tokens), size
        out = ffi.new("uint8_t[]", max(16, frame.size + frame.size // 2 + _ROOM if room is None else room))
        frame.coded, frame.coded_size = out, len(out)
        return Job(self._model, frame, [*keep, out], start, threads, decoding=False)

    def decoder(
        self, coded: bytes | memoryview, streams: Sequence[tuple[int, Sequence[int]]], start: int, threads: int = 1
    ) -> Job:
        """Decodes a frame of streams, each of them (bytes of text, cuts).

        Raises:
            UsageError: no stream, too many or an empty one, or cuts that do not ascend inside one.
        """
        frame, keep = _frame(len(streams), sum(size for size, _ in streams))
        for item, (size, cuts) in zip(keep[0], streams, strict=True):
            offsets = ffi.new("uint64_t[]", list(cuts))
            keep.append(offsets)
            item.size, item.cuts, item.n_cuts = size, offsets, len(cuts)
        # A copy: a memoryview with a live cffi buffer crashes the cycle collector (it cannot be cleared), and an
        # exception's traceback is enough of a cycle.
        source = ffi.from_buffer("uint8_t[]", bytes(coded))
        data = ffi.new("uint8_t[]", max(1, frame.size))
        frame.coded, frame.coded_size, frame.data = source, len(source), data
        return Job(self._model, frame, [*keep, source, data], start, threads, decoding=True)

    def encode(self, streams: Sequence[Sequence[int]], start: int, lanes: int = 32, **how: Any) -> list[bytes]:
        """The code string of each stream of token ids, a frame of its own, in this thread. ``how``: see :func:`work`.

        Raises:
            KeyboardInterrupt: ``cancel`` was set.
        """
        jobs = [self.encoder([(ids, self._text_size(ids))], start) if ids else None for ids in streams]
        work([job for job in jobs if job], 0, lanes, **how)
        return [job.result() if job else b"" for job in jobs]

    def decode(
        self, streams: Sequence[tuple[bytes | memoryview, int, Sequence[int]]], start: int, lanes: int = 32, **how: Any
    ) -> list[bytes]:
        """The bytes of each (code string, size in bytes, cuts), in this thread.

        Raises:
            DamagedError: a code string is not one that :meth:`encode` makes.
            KeyboardInterrupt: ``cancel`` was set.
        """
        jobs = [self.decoder(coded, [(size, cuts)], start) if size else None for coded, size, cuts in streams]
        work([job for job in jobs if job], 0, lanes, **how)
        return [job.result() if job else b"" for job in jobs]

    def _text_size(self, ids: Sequence[int]) -> int:
        return sum(self.token_lengths[i] for i in ids if i < self.vocab)

    def evaluate(self, tokens: Sequence[int], *, sums: bool = True) -> tuple[array[int], array[int]]:
        """(logits int32 [n * vocab] in log2 units of 2^-16, prefix sums uint64 [n * (vocab + 1)]), flat; without
        ``sums``, which take twice the logits' memory, none.
        """
        ids = array("I", tokens)
        logits = array("i", bytes(4 * len(ids) * self.vocab))
        found = array("Q", bytes(8 * len(ids) * (self.vocab + 1) if sums else 0))
        _raise(
            lib.zllm_evaluate(
                self._model,
                ffi.from_buffer("uint32_t[]", ids),
                len(ids),
                ffi.from_buffer("int32_t[]", logits),
                ffi.from_buffer("uint64_t[]", found) if sums else ffi.NULL,
            )
        )
        return logits, found


def _frame(n_streams: int, size: int) -> tuple[Any, list[Any]]:
    """An empty frame, and what must be kept as long as it is used, its streams first."""
    streams = ffi.new("zllm_stream[]", n_streams)
    frame = ffi.new("zllm_frame *")
    frame.streams, frame.n_streams, frame.size = streams, n_streams, size
    return frame, [streams]


def repeats(data: bytes | bytearray | memoryview, least: int) -> list[tuple[int, int, int]]:
    """(offset, length, distance) of parts of ``data``, at least ``least`` bytes long, that stand earlier in it as well;
    ascending, and apart from each other."""
    room = len(data) // least + 1
    out, count = ffi.new("zllm_repeat[]", room), ffi.new("size_t *", room)
    _raise(lib.zllm_repeats(ffi.from_buffer("uint8_t[]", data), len(data), least, out, count))
    return [(int(r.at), int(r.length), int(r.distance)) for r in out[0 : count[0]]]


def cm_encode(
    data: bytes | bytearray | memoryview,
    cuts: Sequence[int] = (),
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
) -> bytes:
    """Text by the adaptive predictor alone; a new document starts at each of the ascending offsets ``cuts``.

    Raises:
        KeyboardInterrupt: ``cancel`` was set.
    """
    done = counter.value if counter else 0
    try:
        return _cm_encode(data, cuts, max(16, len(data) + len(data) // 8 + _ROOM), cancel, counter)
    except RoomError:  # what is counted stays counted, and is not counted again
        coded = _cm_encode(data, cuts, _CM_WORST * len(data) + 16, cancel, None)
    if counter:
        counter._count[0] = done + len(data)
    return coded


def _cm_encode(
    data: bytes | bytearray | memoryview, cuts: Sequence[int], room: int, cancel: Cancel | None, counter: Counter | None
) -> bytes:
    out, size = ffi.new("uint8_t[]", room), ffi.new("size_t *", room)
    # Given back at once, even on an error, whose traceback would keep it: see Model.decoder for what comes of that.
    with ffi.from_buffer("uint8_t[]", data) as text:
        rc = lib.zllm_cm_encode(text, len(data), list(cuts), len(cuts), out, size, *_watched(cancel, counter))
    _raise(rc)
    return bytes(ffi.buffer(out, size[0]))


def cm_decode(
    coded: bytes | bytearray | memoryview,
    size: int,
    cuts: Sequence[int] = (),
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
) -> bytes:
    """The ``size`` bytes that :func:`cm_encode` was given; of damaged data, something else."""
    data = ffi.new("uint8_t[]", max(1, size))
    source = bytes(coded)
    _raise(lib.zllm_cm_decode(source, len(source), data, size, list(cuts), len(cuts), *_watched(cancel, counter)))
    return bytes(ffi.buffer(data, size))


def _watched(cancel: Cancel | None, counter: Counter | None) -> tuple[Any, Any]:
    return cancel._flag if cancel else ffi.NULL, counter._count if counter else ffi.NULL


def coder_encode(bits: bytes, probabilities: Sequence[int]) -> bytes:
    """The range coder alone: ``bits`` of 0 and 1, probability of a one in 2^-24 for each."""
    values = _uint32s(probabilities)
    if len(values) != len(bits):
        raise UsageError("as many probabilities as bits are needed")
    room = ffi.new("uint8_t[]", 4 * len(bits) + 16)
    size = ffi.new("size_t *", len(room))
    _raise(lib.zllm_coder_encode(bits, ffi.from_buffer("uint32_t[]", values), len(bits), room, size))
    return bytes(ffi.buffer(room, size[0]))


def coder_decode(coded: bytes, probabilities: Sequence[int]) -> bytes:
    """The bits that :func:`coder_encode` was given."""
    values = _uint32s(probabilities)
    bits = ffi.new("uint8_t[]", max(1, len(values)))
    lib.zllm_coder_decode(coded, len(coded), ffi.from_buffer("uint32_t[]", values), len(values), bits)
    return bytes(ffi.buffer(bits, len(values)))


def coder_rate(bits: bytes, probabilities: Sequence[int], repeats: int = 3) -> tuple[float, float]:
    """Decisions a second that the range coder encodes and decodes on one core: the C code alone, best of repeats."""
    values = _uint32s(probabilities)
    coded = coder_encode(bits, values)
    room, size = ffi.new("uint8_t[]", len(coded)), ffi.new("size_t *")
    view, decoded = ffi.from_buffer("uint32_t[]", values), ffi.new("uint8_t[]", max(1, len(bits)))
    encode_ns, decode_ns = [], []
    for _ in range(repeats):
        size[0] = len(room)
        started = time.perf_counter_ns()
        _raise(lib.zllm_coder_encode(bits, view, len(bits), room, size))
        encoded = time.perf_counter_ns()
        lib.zllm_coder_decode(room, size[0], view, len(bits), decoded)
        decode_ns.append(time.perf_counter_ns() - encoded)
        encode_ns.append(encoded - started)
    return len(bits) * 1e9 / max(1, min(encode_ns)), len(bits) * 1e9 / max(1, min(decode_ns))


def rsqrt(x: int) -> tuple[int, int]:
    """(r, e) with r * 2^-e about 1 / sqrt(x)."""
    e = ffi.new("int32_t *")
    return int(lib.zllm_rsqrt(x, e)), int(e[0])


def exp2(d: int) -> int:
    """2^(-d / 2^16) in 2^-15."""
    return int(lib.zllm_exp2(d))


def sigmoid(x: int) -> int:
    """Sigmoid of x / 2^10 in 2^-15."""
    return int(lib.zllm_sigmoid(x))


def gelu(x: int) -> int:
    """GELU of x / 2^10 in 2^-25, |x| up to 32767."""
    return int(lib.zllm_gelu(x))


def sincos(phase: int) -> tuple[int, int]:
    """Sine and cosine of a turn's phase / 2^32, in 2^-15."""
    s, c = ffi.new("int32_t *"), ffi.new("int32_t *")
    lib.zllm_sincos(phase, s, c)
    return int(s[0]), int(c[0])


def quantise(x: Sequence[int], normalise: bool) -> tuple[list[int], int, int]:
    """(q, mantissa, exponent) of one row of int32."""
    q = ffi.new("int8_t[]", len(x))
    m, e = ffi.new("uint32_t *"), ffi.new("int32_t *")
    lib.zllm_quantise(ffi.new("int32_t[]", list(x)), len(x), int(normalise), q, m, e)
    return list(q), int(m[0]), int(e[0])


def _uint32s(values: Sequence[int]) -> array[int]:
    return values if isinstance(values, array) and values.typecode == "I" else array("I", values)


def _uint32(values: Mapping[str, int], name: str) -> int:
    return _integer(values, name, 0, 2**32 - 1)


def _int32(values: Mapping[str, int], name: str) -> int:
    return _integer(values, name, -(2**31), 2**31 - 1)


def _integer(values: Mapping[str, int], name: str, low: int, high: int) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ModelError(f"bad model: {name} is missing or out of range")
    return value


def _raise(rc: int) -> None:
    if rc == lib.ZLLM_OK:
        return
    if rc == lib.ZLLM_E_CANCELLED:
        raise KeyboardInterrupt
    if rc == lib.ZLLM_E_MEMORY:
        raise MemoryError("out of memory in the model's working space")
    if rc == lib.ZLLM_E_SPACE:
        raise RoomError
    if rc == lib.ZLLM_E_DATA:
        raise DamagedError("the coded text is damaged, or was made by another model")
    if rc == lib.ZLLM_E_KERNEL_WRONG:
        raise KernelError(
            "this kernel computes wrong integers on this machine; nothing was coded. Demand another one with "
            "ZLLM_KERNEL=generic, and please report the processor"
        )
    raise UsageError(f"the coder refused its arguments (code {rc})")
