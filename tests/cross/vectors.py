"""What golden.json has hashes of: inputs made from nothing but SHAKE-256, and what the core computes of them.

An item is a name and bytes, all integers little-endian. The same inputs go into the bundle that tests/cross/machine.c
reads (tests/cross/bundle.py), which prints the same names and hashes on machines that have no Python.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import tiny

from zllm import _native as native
from zllm.archive import layout
from zllm.archive.coding import Decoders
from zllm.archive.view import FileView
from zllm.codecs import llm
from zllm.models import store, zlm

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MODELS = ("tiny", "extreme", "wide", "default")
ARCHIVES = {"default.zllm": "default", "tiny.zllm": "tiny"}
_SHAPES: dict[str, dict[str, Any]] = {
    # Stored as tests/golden/tiny.zlm.
    "tiny": {"seed": 1, "dim": 32, "heads": 2, "kv_heads": 1, "ffn": 64},
    # Every weight 127 or -127: the largest sums that there are.
    "extreme": {"seed": 3, "extreme": True},
    # A head that no power of two fits, a vocabulary that no block of tokens divides.
    "wide": {"seed": 3, "heads": 2, "kv_heads": 1, "layers": 1, "vocab": 333, "ffn": 160, "window": 64, "head_dim": 96},
}
SHORT_BYTES = {"default": 100, "tiny": 2000}
"""Bytes of each stream of an archive that a slow machine codes."""


def pseudo_random(label: str, count: int) -> array[int]:
    """``count`` numbers of 64 bits that are the same everywhere."""
    numbers = array("Q", hashlib.shake_256(label.encode()).digest(8 * count))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def little(code: str, values: Iterable[int]) -> bytes:
    """Integers as little-endian bytes, ``code`` as in :mod:`array`."""
    data = array(code, values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class Models:
    """The model files that the vectors are of. Those that are not stored are made in ``folder``.

    Raises:
        ValueError: a file is not the one that golden.json has the hash of.
    """

    def __init__(self, folder: Path, expected: dict[str, str] | None = None) -> None:
        self.paths = {"default": store.resolve(store.DEFAULT_NAME).path, "tiny": GOLDEN / "tiny.zlm"}
        for name in ("extreme", "wide"):
            self.paths[name] = tiny.write(folder / f"{name}.zlm", **_SHAPES[name])
        self.files = {name: zlm.read(self.paths[name]) for name in MODELS}
        self.hashes = {name: file.sha256.hex() for name, file in self.files.items()}
        for name, sha256 in (expected or self.hashes).items():
            if self.hashes[name] != sha256:
                raise ValueError(f"the model {name!r} has another SHA-256 than in golden.json: tools/make_golden.py")

    def load(self, name: str) -> store.Model:
        """As the codec wants it."""
        return store.load(self.paths[name])

    def packed(self, name: str, kernel: str) -> native.Model:
        """For a kernel."""
        file = self.files[name]
        d = file.description
        return native.Model(d["config"], d["layers"], d["exponents"], file.tensors, kernel)


def write_tiny(path: Path) -> None:
    """The stored model."""
    tiny.write(path, **_SHAPES["tiny"])


@dataclass
class Sequence:
    """Tokens to evaluate one by one."""

    name: str
    model: str
    tokens: list[int]

    def items(self, model: native.Model) -> Iterator[tuple[str, bytes]]:
        """Logits and prefix sums."""
        logits, sums = model.evaluate(self.tokens)
        yield f"{self.name}/logits", little("i", logits)
        yield f"{self.name}/sums", little("Q", sums)


@dataclass
class Stream:
    """Text of ``size`` bytes, its tokens and the code string to decode it from, which may go on after it."""

    size: int
    cuts: list[int]
    coded: bytes
    tokens: list[int]


@dataclass
class Streams:
    """Streams that are coded together, with each number of lanes. ``slow``: not for slow machines."""

    name: str
    model: str
    start: int
    streams: list[Stream]
    lanes: tuple[int, ...]
    slow: bool = False

    def items(self, model: native.Model) -> Iterator[tuple[str, bytes]]:
        """Tokens, and what encoding and decoding gives, each once per number of lanes."""
        tokens = [s.tokens for s in self.streams]
        yield f"{self.name}/tokens", little("I", [t for stream in tokens for t in stream])
        for lanes in self.lanes:
            yield f"{self.name}/code", b"".join(model.encode(tokens, self.start, lanes))
            jobs = [(s.coded, s.size, s.cuts) for s in self.streams]
            yield f"{self.name}/text", b"".join(model.decode(jobs, self.start, lanes))


@dataclass
class Decisions:
    """Bits for the range coder, and the probability of a one of each."""

    name: str
    bits: bytes
    probabilities: list[int]

    def items(self) -> Iterator[tuple[str, bytes]]:
        """The code string, and the bits that come out of it."""
        coded = native.coder_encode(self.bits, self.probabilities)
        yield f"{self.name}/code", coded
        yield f"{self.name}/bits", native.coder_decode(coded, self.probabilities)


FUNCTIONS: dict[str, Callable[[int], bytes]] = {
    "rsqrt": lambda x: struct.pack("<Ii", *native.rsqrt(x)),
    "exp2": lambda x: struct.pack("<I", native.exp2(x)),
    "sigmoid": lambda x: struct.pack("<i", native.sigmoid(x - (x >> 31 << 32))),
    "sincos": lambda x: struct.pack("<ii", *native.sincos(x)),
}
"""Of an unsigned argument; sigmoid's is a 32-bit pattern."""


@dataclass
class Sweep:
    """Many arguments of one fixed-point function."""

    function: str
    arguments: list[int]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"fixed/{self.function}"

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All results."""
        yield self.name, b"".join(map(FUNCTIONS[self.function], self.arguments))


@dataclass
class Rows:
    """Rows to quantise."""

    name: str
    normalise: bool
    rows: list[list[int]]

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All results: q, mantissa, exponent."""
        out = b""
        for row in self.rows:
            q, mantissa, exponent = native.quantise(row, self.normalise)
            out += little("b", q) + struct.pack("<Ii", mantissa, exponent)
        yield self.name, out


def sequences(models: Models) -> list[Sequence]:
    """More than a window for the small models, a few dozen tokens for the default one."""
    counts = {"tiny": 100, "extreme": 100, "wide": 150, "default": 24}
    out = []
    for name in MODELS:
        vocab = models.files[name].config.vocab
        out.append(Sequence(f"evaluate/{name}", name, [n % vocab for n in pseudo_random(name, counts[name])]))
    return out


def many_streams(models: Models) -> Streams:
    """Streams of many lengths, whose tokens no tokenizer made."""
    model = models.load("wide")
    core = model.native
    streams = []
    for length in (*range(12), 63, 64, 65, 130, 3, 90, 1, 40, 17, 33):
        ids = [n % len(model.tokens) for n in pseudo_random(f"stream {length}", length)]
        size = sum(len(model.tokens[i]) for i in ids)
        streams.append(Stream(size, [], core.encode([ids], model.start)[0], ids))
    return Streams("streams/wide", "wide", model.start, streams, (1, 3, 64))


def archive_streams(models: Models, archive: str, path: Path) -> list[Streams]:
    """The streams of all frames of the codec llm: whole, and the first part of each."""
    name = ARCHIVES[archive]
    model = models.load(name)
    codec = llm.LlmCodec(model)
    whole, part = [], []
    for payload, size, cuts in _llm_frames(path, models.paths[name]):
        text = memoryview(codec.decode(payload, size, cuts))
        for s in llm._split(0, payload, size, cuts):
            tokens = codec._tokens(text[s.start : s.end], s.cuts)
            whole.append(Stream(s.size, s.cuts, bytes(s.coded), list(tokens)))
            part.append(_beginning(model, whole[-1], SHORT_BYTES[name]))
    slow = name == "default"
    return [
        Streams(archive, name, model.start, whole, (7,) if slow else (16,), slow),
        Streams(f"{archive}/short", name, model.start, part, (1, 7)),
    ]


def _llm_frames(path: Path, model: Path) -> Iterator[tuple[memoryview, int, tuple[int, ...]]]:
    with path.open("rb") as file:
        view = FileView(file, layout.find(file), Decoders(model))
        for number in range(len(view.layout.rows)):
            section = view.section(number)
            for frame, row in enumerate(section.chart.frames):
                if row.codec == llm.LlmCodec.id:
                    yield section._payload(frame), row.raw_size, section.chart.cuts(frame)


def _beginning(model: store.Model, stream: Stream, least: int) -> Stream:
    """The first tokens that have ``least`` bytes. The code string stays: a decoder stops where it is told to."""
    size = count = 0
    for token in stream.tokens:
        if size >= least:
            break
        size += 0 if token & native.GIVEN else len(model.tokens[token])
        count += 1
    cuts = stream.cuts[: bisect_left(stream.cuts, size)]
    return Stream(size, cuts, stream.coded, stream.tokens[:count])


def decisions() -> list[Decisions]:
    """Any probabilities, skewed ones, and the two most extreme ones with rare and frequent surprises."""
    draws = pseudo_random("decisions", 3000)
    most = (1 << 24) - 1
    mixed = [(n >> 8) % most + 1 for n in draws]
    skewed = [min(most, 1 + ((n >> 8) % most >> n % 24)) for n in draws]
    edges = [1 if n >> 8 & 1 else most for n in draws]
    surprise = [(n >> 16) % 50 == 0 for n in draws]
    likely = bytes((n >> 40) % (most + 1) < p for n, p in zip(draws, skewed, strict=True))
    long = 40  # bytes that a carry runs through
    return [
        Decisions("coder/mixed", bytes(n & 1 for n in draws), mixed),
        Decisions("coder/skewed", likely, skewed),
        Decisions("coder/edges", bytes((p == most) != s for p, s in zip(edges, surprise, strict=True)), edges),
        Decisions("coder/against", bytes(p == 1 for p in edges), edges),
        Decisions("coder/carry", bytes([0] * long + [1, 0, 0, 0]), [most] * long + [1, most, most, most]),
    ]


def sweeps() -> list[Sweep]:
    """Every power of two and its neighbours, and pseudo-random arguments of every length."""
    lengths = [(n | 1 << 63) >> i % 63 >> 1 for i, n in enumerate(pseudo_random("sweep", 4000))]
    edges = sorted({max(1, min(1 << 63, (1 << i) + d)) for i in range(64) for d in (-1, 0, 1)})
    words = [n & 0xFFFFFFFF for n in [0, *edges, *lengths]]
    return [
        Sweep("rsqrt", edges + [max(1, n) for n in lengths]),
        Sweep("exp2", [*range(0, 40 << 16, 401), *words]),
        Sweep("sigmoid", [n & 0xFFFFFFFF for n in range(-17000, 17001, 3)] + [n & 0x3FFFFFFF for n in words]),
        Sweep("sincos", [*range(0, 1 << 32, 1299709), *words]),
    ]


def quantised_rows() -> list[Rows]:
    """Rows of every size of values, zeros and the largest values among them."""
    limit = 1 << 30
    rows = [[0] * 32, [limit] * 32, [-limit, limit, 1, -1], [1], [-3] * 5]
    for i in range(31):
        rows.append([(n >> 20) % (2 << i) - (1 << i) for n in pseudo_random(f"row {i}", 1 + 9 * i)])
    return [Rows("fixed/quantise", False, rows), Rows("fixed/normalise", True, rows)]


@dataclass
class Vectors:
    """Everything that is hashed."""

    sequences: list[Sequence]
    streams: list[Streams]
    others: list[Decisions | Sweep | Rows]

    def hashes(self, models: Models, kernel: str, slow: bool) -> dict[str, str]:
        """The hash of every item.

        Raises:
            ValueError: an item has two values, with different numbers of lanes.
        """
        packed = {name: models.packed(name, kernel) for name in MODELS}
        out: dict[str, str] = {}

        def add(items: Iterable[tuple[str, bytes]]) -> None:
            for name, data in items:
                if out.setdefault(name, digest(data)) != digest(data):
                    raise ValueError(f"kernel {kernel}: {name} depends on the number of lanes")

        for item in self.others:
            add(item.items())
        for sequence in self.sequences:
            add(sequence.items(packed[sequence.model]))
        for streams in self.streams:
            if slow or not streams.slow:
                add(streams.items(packed[streams.model]))
        return out

    def slow_items(self) -> set[str]:
        """Names of the items that slow machines leave out."""
        return {f"{s.name}/{kind}" for s in self.streams if s.slow for kind in ("tokens", "code", "text")}


def all_vectors(models: Models) -> Vectors:
    """The vectors of the models and archives that are there."""
    archives = [s for name in ARCHIVES for s in archive_streams(models, name, GOLDEN / name)]
    others: list[Decisions | Sweep | Rows] = [*decisions(), *sweeps(), *quantised_rows()]
    return Vectors(sequences(models), [many_streams(models), *archives], others)


def recorded() -> dict[str, Any]:
    """golden.json."""
    found: dict[str, Any] = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
    return found
