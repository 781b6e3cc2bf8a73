"""Models that the C core has checked and packed, and coding with them."""

from __future__ import annotations

import functools
import itertools
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from zllm._native import modelfile
from zllm._native.core import checked, ffi, lib, uint32s, usual_room
from zllm._native.jobs import Job, new_frame, work
from zllm._native.kernels import demanded


class Model:
    """A checked and packed model of a ``.zlm`` file's ``description`` and ``tensors`` (by name: type, shape, data).

    Raises:
        ModelError: a number or a tensor is missing, or has another type, shape or range than the config says.
        KernelError: the kernel that ``kernel`` or ``ZLLM_KERNEL`` demands cannot be had.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        tensors: Mapping[str, tuple[str, tuple[int, ...], memoryview]],
        kernel: str | None = None,
    ) -> None:
        name = demanded(kernel)
        text, out = json.dumps(description).encode(), ffi.new("zllm_model **")
        with modelfile.listed(tensors) as listed:
            rc = lib.zllm_model_new(text, len(text), listed, len(tensors), name, ffi.NULL, out)
        modelfile.check(rc, "bad model: ")
        checked(rc)
        self._model = ffi.gc(out[0], lib.zllm_model_free, size=lib.zllm_model_memory(out[0]))
        self.vocab: int = description["config"]["vocab"]
        self.outputs: int = lib.zllm_model_outputs(self._model)
        """Weights that say what follows: of classes, if the head has two levels, and behind them of tokens."""
        self.kernel: str = ffi.string(lib.zllm_model_kernel(self._model)).decode()
        self.memory: int = lib.zllm_model_memory(self._model)
        self.stream_memory: int = lib.zllm_stream_memory(self._model)
        self._token_starts = bytes(tensors["tokens.offsets"][2])

    @functools.cached_property
    def token_lengths(self) -> array[int]:
        """Bytes of each token: array of vocab; decoders do without it."""
        starts = array("I", self._token_starts)
        if sys.byteorder == "big":
            starts.byteswap()
        return array("I", (end - start for start, end in itertools.pairwise(starts)))

    def encoder(
        self, streams: Sequence[tuple[Sequence[int], int]], start: int, threads: int = 1, room: int | None = None
    ) -> Job:
        """Codes a frame of streams, each of them (token ids, bytes of their text); an id with :data:`GIVEN` set is
        context only. ``room``: bytes for the code string; too little is :class:`RoomError` when it is worked on.

        Raises:
            UsageError: the tokens do not fit the vocabulary, a stream's size or each other.
        """
        frame, keep = new_frame(len(streams), sum(size for _, size in streams))
        for item, (ids, size) in zip(keep[0], streams, strict=True):
            tokens = uint32s(ids)
            view = ffi.from_buffer("uint32_t[]", tokens)
            keep += [tokens, view]
            item.tokens, item.n_tokens, item.size = view, len(tokens), size
        out = ffi.new("uint8_t[]", usual_room(frame.size) if room is None else max(16, room))
        frame.coded, frame.coded_size = out, len(out)
        return Job(self._model, frame, [*keep, out], start, threads, decoding=False)

    def decoder(
        self, coded: bytes | memoryview, streams: Sequence[tuple[int, Sequence[int]]], start: int, threads: int = 1
    ) -> Job:
        """Decodes a frame of streams, each of them (bytes of text, boundaries).

        Raises:
            UsageError: no stream, too many or an empty one, or boundaries that do not ascend inside one.
        """
        frame, keep = new_frame(len(streams), sum(size for size, _ in streams))
        for item, (size, boundaries) in zip(keep[0], streams, strict=True):
            offsets = ffi.new("uint64_t[]", list(boundaries))
            keep.append(offsets)
            item.size, item.cuts, item.n_cuts = size, offsets, len(boundaries)
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
        """The bytes of each (code string, size in bytes, boundaries), in this thread.

        Raises:
            DamagedError: a code string is not one that :meth:`encode` makes.
            KeyboardInterrupt: ``cancel`` was set.
        """
        jobs = [
            self.decoder(coded, [(size, boundaries)], start) if size else None for coded, size, boundaries in streams
        ]
        work([job for job in jobs if job], 0, lanes, **how)
        return [job.result() if job else b"" for job in jobs]

    def _text_size(self, ids: Sequence[int]) -> int:
        return sum(self.token_lengths[i] for i in ids if i < self.vocab)

    def evaluate(self, tokens: Sequence[int], *, sums: bool = True, bulk: int = 1) -> tuple[array[int], array[int]]:
        """(logits int32 [n * outputs] in log2 units of 2^-16, prefix sums uint64 [n * (outputs + 1)]), flat; without
        ``sums``, which take twice the logits' memory, none. ``bulk``: tokens of a step, 1 to 64; more are faster.
        """
        ids = array("I", tokens)
        logits = array("i", bytes(4 * len(ids) * self.outputs))
        found = array("Q", bytes(8 * len(ids) * (self.outputs + 1) if sums else 0))
        checked(
            lib.zllm_evaluate(
                self._model,
                ffi.from_buffer("uint32_t[]", ids),
                len(ids),
                bulk,
                ffi.from_buffer("int32_t[]", logits),
                ffi.from_buffer("uint64_t[]", found) if sums else ffi.NULL,
            )
        )
        return logits, found
