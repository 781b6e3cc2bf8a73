"""What golden.json has hashes of: inputs made from nothing but SHAKE-256, and what the core computes of them.

An item is a name and bytes, all integers little-endian. The same inputs go into the bundle that tests/cross/machine.c
reads (tests/cross/bundle.py), which prints the same names and hashes on machines that have no Python.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import tiny, variants

from zllm import _native as native
from zllm.archive import layout
from zllm.archive.coding import Decoders
from zllm.archive.fileview import FileView
from zllm.archive.options import ReadOptions
from zllm.codecs import cm, llm, llm_frames
from zllm.codecs.base import Run
from zllm.models import store, zlm

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MADE = ("extreme", "wide")
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"seed": 11 + i, **kind} for i, (name, kind) in enumerate(variants.FAMILIES.items())},
    # The largest numbers that there are, in every row that can be wide.
    "widest": {"seed": 21, "extreme": True, "qk": 2, "mlp": 1, "positions": 32, "wide_head": 1, "layer": {"wide": 15}},
    # A window whose sums leave 32 bits: all scores are equal for one token over and over, and all scales the largest.
    "long": {"seed": 22, "extreme": True, "layers": 1, "window": 1024, "layer": {"v_shift": 4, "window": 576}},
}
"""Networks of other origin, and what they are made of."""
MODELS = ("tiny", *MADE, "default", *VARIANTS)
ARCHIVES: dict[str, str | None] = {"default.zllm": "default", "tiny.zllm": "tiny", "cm.zllm": None}
"""And the model of each."""
_SHAPES: dict[str, dict[str, Any]] = {
    # Stored as tests/golden/tiny.zlm.
    "tiny": {"seed": 1, "dim": 32, "heads": 2, "kv_heads": 1, "ffn": 64},
    # Every weight 127 or -127: the largest sums that there are.
    "extreme": {"seed": 3, "extreme": True},
    # A head that no power of two fits, a vocabulary that no block of tokens divides.
    "wide": {"seed": 3, "heads": 2, "kv_heads": 1, "layers": 1, "vocab": 333, "ffn": 160, "window": 64, "head_dim": 96},
}
SHORT_BYTES = {"default": 60, "tiny": 300}
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
        for name in MADE:
            self.paths[name] = tiny.write(folder / f"{name}.zlm", **_SHAPES[name])
        for name, kind in VARIANTS.items():
            self.paths[name] = variants.write(folder / f"{name}.zlm", **kind)
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
        return native.Model(file.description, file.tensors, kernel)


def write_tiny(path: Path) -> None:
    """The stored model."""
    tiny.write(path, **_SHAPES["tiny"])


@dataclass
class Tokens:
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
    """Tokens, those that are given among them, the size of their text, and where its documents start."""

    tokens: list[int]
    size: int
    boundaries: list[int] = field(default_factory=list)


@dataclass
class Frame:
    """Streams that share a code string, which is there to be decoded."""

    streams: list[Stream]
    coded: bytes


@dataclass
class Frames:
    """Frames of one model, coded in several ways: rows of a step, and threads that share a frame (one thread codes all
    frames together). ``slow``: not for slow machines."""

    name: str
    model: str
    start: int
    frames: list[Frame]
    ways: tuple[tuple[int, int], ...]
    slow: bool = False

    def items(self, model: native.Model) -> Iterator[tuple[str, bytes]]:
        """Tokens, and what encoding and decoding gives, each once per way."""
        yield f"{self.name}/tokens", little("I", [t for f in self.frames for s in f.streams for t in s.tokens])
        for lanes, threads in self.ways:
            jobs = [encoder(model, frame.streams, self.start, threads) for frame in self.frames]
            yield f"{self.name}/code", b"".join(finish(jobs, lanes, threads))
            jobs = [
                model.decoder(f.coded, [(s.size, s.boundaries) for s in f.streams], self.start, threads)
                for f in self.frames
            ]
            yield f"{self.name}/text", b"".join(finish(jobs, lanes, threads))


def encoder(model: native.Model, streams: list[Stream], start: int, threads: int = 1) -> native.Job:
    """With room for tokens that no tokenizer would choose."""
    room = 1024 + 24 * sum(s.size + len(s.tokens) for s in streams)
    return model.encoder([(s.tokens, s.size) for s in streams], start, threads, room)


def finish(jobs: list[native.Job], lanes: int, threads: int) -> list[bytes]:
    """Code them: together, or one after the other by several threads."""
    if threads == 1:
        native.work(jobs, 0, lanes)
    else:
        for job in jobs:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(native.work, [[job]] * threads, range(threads), [lanes] * threads))
    return [job.result() for job in jobs]


@dataclass
class Text:
    """Text for the predictor alone."""

    name: str
    data: bytes
    boundaries: list[int]
    coded: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.coded = native.cm_encode(self.data, self.boundaries)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """The code string, and the text that comes out of it."""
        yield f"{self.name}/code", native.cm_encode(self.data, self.boundaries)
        yield f"{self.name}/text", native.cm_decode(self.coded, len(self.data), self.boundaries)


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
    "gelu": lambda x: struct.pack("<i", native.gelu(x - (x >> 31 << 32))),
    "sincos": lambda x: struct.pack("<ii", *native.sincos(x)),
}
"""Of an unsigned argument; sigmoid's and gelu's are 32-bit patterns."""


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


def sequences(models: Models) -> list[Tokens]:
    """More than a window, and than there are positions, for small models (for the one with a long window, one token
    over and over); a few dozen tokens for the default one."""
    counts = {"tiny": 100, "extreme": 100, "wide": 150, "default": 24, "long": 600}
    out = []
    for name in MODELS:
        config = models.files[name].config
        first = [config.inputs - 1] if name in VARIANTS else []  # it may be a start token after the vocabulary
        different = 1 if name == "long" else config.vocab
        tokens = first + [n % different for n in pseudo_random(name, counts.get(name, 80))]
        out.append(Tokens(f"evaluate/{name}", name, tokens))
    return out


def _stream(model: store.Model, label: str, lengths: Sequence[int]) -> Stream:
    """Documents of so many pseudo-random tokens, which no tokenizer made."""
    tokens: list[int] = []
    boundaries: list[int] = []
    size = 0
    for number, length in enumerate(lengths):
        if number:
            tokens.append(model.start | native.GIVEN)
            boundaries.append(size)
        ids = [n % len(model.tokens) for n in pseudo_random(f"{label} {number}", length)]
        tokens += ids
        size += sum(len(model.tokens[i]) for i in ids)
    return Stream(tokens, size, boundaries)


def _frame(model: store.Model, streams: list[Stream]) -> Frame:
    return Frame(streams, finish([encoder(model.native, streams, model.start)], 32, 1)[0])


def made_frames(models: Models) -> list[Frames]:
    """Frames of one stream each, of many lengths; of streams that end at different steps, with documents; of as many
    streams as there may be; fewer streams than threads; longer ones than there are positions; started by a token after
    the vocabulary."""
    model, restarting = models.load("wide"), models.load("gpt2")
    counts = (*range(1, 12), 63, 64, 65, 130, 3, 90, 1, 40, 17, 33)
    single = [[_stream(model, f"stream {n}", [n])] for n in counts]
    many = [_stream(model, f"of many {n}", lengths) for n, lengths in enumerate(_DOCUMENTS)]
    two = [_stream(model, "first of two", [70, 1, 30]), _stream(model, "second of two", [150])]
    most = [_stream(model, f"of most {n}", [1 + n % 3]) for n in range(256)]
    restarts = [_stream(restarting, f"of restarts {n}", lengths) for n, lengths in enumerate(_DOCUMENTS[:4])]
    levelled = models.load("second")
    levels = [_stream(levelled, f"of two levels {n}", lengths) for n, lengths in enumerate(_DOCUMENTS)]
    own = models.load("neox")
    started = [_stream(own, f"of started {n}", lengths) for n, lengths in enumerate(_DOCUMENTS[1:4])]
    return [
        Frames("frames/restarts", "gpt2", restarting.start, [_frame(restarting, restarts)], _ALL_WAYS),
        Frames("frames/levels", "second", levelled.start, [_frame(levelled, levels)], _ALL_WAYS),
        Frames("frames/started", "neox", own.start, [_frame(own, started)], ((5, 1), (64, 2))),
        Frames("frames/single", "wide", model.start, [_frame(model, s) for s in single], ((1, 1), (3, 1), (64, 1))),
        Frames("frames/many", "wide", model.start, [_frame(model, many), _frame(model, two)], _ALL_WAYS),
        Frames("frames/most", "wide", model.start, [_frame(model, most)], ((64, 1), (32, 3))),
    ]


_DOCUMENTS = ([200], [1], [64, 64], [3, 1, 1, 90], [129], [20, 44, 1], [2], [65, 10], [1, 1], [140, 60])
_ALL_WAYS = ((1, 1), (3, 1), (64, 1), (1, 2), (64, 3), (8, 16))


def texts() -> list[Text]:
    """Beginnings of the golden texts, with and without cuts; bytes of all kinds; next to nothing; runs; repetitions."""
    files = {path.stem: path.read_bytes()[:2500] for path in sorted((GOLDEN / "texts").iterdir())}
    noise = little("Q", pseudo_random("noise", 200))
    records = b"".join(struct.pack("<IHHq", 1000 * i, i % 7, 0xFFFF - i, -i) for i in range(150))
    all_of_it = b"".join(files.values())
    edges = [len(files["chinese"]), len(files["chinese"]) + len(files["code"])]
    odd = {"empty": b"", "one": b"x", "two": b"\xff\x00", "noise": noise, "records": records}
    english = (GOLDEN / "texts" / "english.txt").read_bytes().split()
    odd["sorted"] = b" ".join(sorted(english))  # long enough for profiles to be tried: prose is the best one
    odd["rows"] = b"".join(struct.pack("<IBBB", 7 * i, i * i % 5, 0, i % 3) for i in range(1500))  # records of 21
    odd |= {"x86": _x86_code(), "arm": _arm_code()}
    odd |= {"runs": b"\0" * 900 + b"ab" * 700 + b"\xff" * 70, "again": noise[:500] * 5}
    return [
        *(Text(f"cm/{name}", data, []) for name, data in (files | odd).items()),
        Text("cm/cuts", all_of_it, [1, 2, 777, *edges, len(all_of_it) - 1]),
        Text("cm/many-cuts", files["english"], list(range(1, 2500, 7))),
    ]


def _x86_code() -> bytes:
    """Functions that call each other and read variables at fixed addresses, all by distances."""
    out = bytearray()
    choices = [n % 11 for n in pseudo_random("x86", 3000)]
    for i in range(0, 2400, 3):
        out += bytes.fromhex("554889e54883ec") + bytes([8 * (choices[i] + 1)])
        out += b"\xe8" + (choices[i + 1] * 4096 - len(out) - 5).to_bytes(4, "little", signed=True)
        out += bytes.fromhex("488b05") + (65536 + 8 * choices[i + 2] - len(out) - 7).to_bytes(4, "little", signed=True)
        out += bytes.fromhex("c9c3")
    return bytes(out)


def _arm_code() -> bytes:
    """The same of AArch64."""
    words: list[int] = []
    choices = [n % 11 for n in pseudo_random("arm", 3000)]
    for i in range(0, 2400, 3):
        words += [0xA9BF7BFD, 0x910003FD, 0x94000000 | (choices[i] * 1024 - len(words) - 2) % 2**26]
        words += [0xF9400000 | choices[i + 1] << 10 | choices[i + 2], 0xD65F03C0]
    return struct.pack(f"<{len(words)}I", *words)


def archive_frames(models: Models, archive: str, path: Path) -> list[Frames]:
    """The frames of the codec llm: whole, and the first part of each stream."""
    name = ARCHIVES[archive]
    if name is None:
        return []
    model = models.load(name)
    whole = [_parse(model, *frame) for frame in _frames(path, models.paths[name], llm.LlmCodec.id)]
    part = [_frame(model, [_beginning(model, s, SHORT_BYTES[name]) for s in frame.streams]) for frame in whole]
    slow = name == "default"
    return [
        Frames(archive, name, model.start, whole, ((64, 2),) if slow else ((16, 1),), slow),
        Frames(f"{archive}/short", name, model.start, part, ((7, 1),) if slow else ((1, 1), (7, 1), (7, 3))),
    ]


def archive_texts(models: Models, archive: str, path: Path) -> list[Text]:
    """The frames of the codec cm.

    Raises:
        ValueError: one of them is not what the codec makes.
    """
    name = ARCHIVES[archive]
    out = []
    for payload, size, boundaries in _frames(path, models.paths[name] if name else None, cm.CmCodec.id):
        out.append(Text(f"{archive}/cm{len(out)}", cm.CmCodec().decode(payload, size, boundaries), list(boundaries)))
        if out[-1].coded != payload[1:]:
            raise ValueError(f"{archive} was not made by this program: tools/make_golden.py")
    return out


def _frames(path: Path, model: Path | None, codec: int) -> Iterator[tuple[memoryview, int, tuple[int, ...]]]:
    with path.open("rb") as file:
        view = FileView(file, layout.find(file), Decoders(ReadOptions(model=model)))
        for number in range(len(view.layout.rows)):
            section = view.section(number)
            for frame, row in enumerate(section.layout.frames):
                if row.codec == codec:
                    yield section.payload(frame), row.raw_size, section.layout.boundaries(frame)


def _parse(model: store.Model, payload: memoryview, size: int, boundaries: tuple[int, ...]) -> Frame:
    """A frame's streams, as the encoder cut them.

    Raises:
        ValueError: the encoder would cut them elsewhere.
    """
    codec = llm.LlmCodec(model)
    parsed = llm_frames.parse(0, payload, size, boundaries)
    frame = llm_frames.take_apart(0, codec.decode(payload, size, boundaries), boundaries)
    encoding = llm.FrameEncoding(model, codec.scheduling, Run())
    tokens = encoding._tokens(frame)
    made = list(encoding._streams(tokens, len(parsed.ends)))
    streams = []
    for (ids, length), start, end in zip(made, [0, *parsed.ends], parsed.ends, strict=False):
        inner = [boundary - start for boundary in frame.boundaries if start < boundary < end]
        streams.append(Stream(list(ids), length, inner))
    if [s.size for s in streams] != [b - a for a, b in itertools.pairwise([0, *parsed.ends])]:
        raise ValueError("the archive was not made by this program: tools/make_golden.py")
    return Frame(streams, bytes(parsed.data))


def _beginning(model: store.Model, stream: Stream, least: int) -> Stream:
    """The first tokens that have ``least`` bytes."""
    size = count = 0
    for token in stream.tokens:
        if size >= least:
            break
        size += 0 if token & native.GIVEN else len(model.tokens[token])
        count += 1
    return Stream(stream.tokens[:count], size, [boundary for boundary in stream.boundaries if boundary < size])


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
        Sweep("gelu", [n & 0xFFFFFFFF for n in range(-32768, 32769, 5)] + words),
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

    sequences: list[Tokens]
    frames: list[Frames]
    others: list[Decisions | Sweep | Rows | Text]

    def hashes(self, models: Models, kernel: str, slow: bool) -> dict[str, str]:
        """The hash of every item.

        Raises:
            ValueError: an item has two values, coded in different ways.
        """
        packed = {name: models.packed(name, kernel) for name in MODELS}
        out: dict[str, str] = {}

        def add(items: Iterable[tuple[str, bytes]]) -> None:
            for name, data in items:
                if out.setdefault(name, digest(data)) != digest(data):
                    raise ValueError(f"kernel {kernel}: {name} depends on the number of lanes or threads")

        for item in self.others:
            add(item.items())
        for sequence in self.sequences:
            add(sequence.items(packed[sequence.model]))
        for frames in self.frames:
            if slow or not frames.slow:
                add(frames.items(packed[frames.model]))
        return out

    def slow_items(self) -> set[str]:
        """Names of the items that slow machines leave out."""
        return {f"{f.name}/{kind}" for f in self.frames if f.slow for kind in ("tokens", "code", "text")}


def all_vectors(models: Models) -> Vectors:
    """The vectors of the models and archives that are there."""
    archives = [f for name in ARCHIVES for f in archive_frames(models, name, GOLDEN / name)]
    coded = [t for name in ARCHIVES for t in archive_texts(models, name, GOLDEN / name)]
    others: list[Decisions | Sweep | Rows | Text] = [*decisions(), *sweeps(), *quantised_rows(), *texts(), *coded]
    return Vectors(sequences(models), [*made_frames(models), *archives], others)


def recorded() -> dict[str, Any]:
    """golden.json."""
    found: dict[str, Any] = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
    return found
