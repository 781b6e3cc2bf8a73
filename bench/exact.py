"""Whether the same text gives the same bits, whatever computes it: kernels, threads, batch shapes, encoding in bulk and
decoding step by step.

The text is cut into frames of one to sixteen streams of unequal length, some with a second document inside. Each
configuration encodes and decodes all of them, every other frame by all threads together, one in 16 decoded by them as
a team; every code string has to be, bit for bit, the one that the first configuration made. The small model codes all
text. The default model and the scalar kernel are slow and get a sample of the frames, as the table says.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from bench.common import Outcome, Target, add_run, add_texts, parser, say
from bench.texts import mixed
from zllm._native import GIVEN, Job, Team, usable_kernels, work
from zllm._native import Model as NativeModel
from zllm.errors import DamagedError
from zllm.models import store, zlm

_FULL, _QUICK = 10_000_000, 200_000
_MODELS = {"fast": 1, store.DEFAULT_NAME: 9}  # one frame of so many
_SCALAR_SHARE, _SCALAR_LEAST = 49, 2  # the scalar kernel gets one frame of so many, but not fewer frames than that
_STREAMS_OF = (1, 16, 2, 7, 4)  # a frame, in turn
_AT_ONCE = 3  # frames that a thread codes at once: each takes some MB
_STREAMS = 640  # at least 64 for each of 7 threads
_SHORTEST, _LONGEST = 1 << 10, 16 << 10
THREADS, SHAPES = (1, 2, 7), (1, 3, 64)


@dataclass(frozen=True)
class _Stream:
    """Its text, where its second document starts (if it has one), and its tokens."""

    text: bytes
    boundaries: tuple[int, ...]
    tokens: array[int]


@dataclass(frozen=True)
class _Frame:
    """Streams that are one code string, and their number among all."""

    number: int
    streams: list[_Stream]

    @property
    def text(self) -> bytes:
        """Of all its streams."""
        return b"".join(stream.text for stream in self.streams)

    @property
    def shared(self) -> bool:
        """Whether all threads code it together; of the others, each thread codes several at once."""
        return self.number % 2 == 1

    @property
    def teamed(self) -> bool:
        """Whether these threads are a team when they decode it."""
        return self.number % 16 == 15


@dataclass
class _Run:
    """One configuration and what it made of the frames."""

    model: str
    kernel: str
    threads: int
    lanes: int
    frames: list[_Frame]
    coded: list[bytes] = field(default_factory=list)

    def encode(self, native: NativeModel, start: int) -> None:
        """Code all frames."""

        def make(place: int, threads: int) -> Job:
            streams = [(stream.tokens, len(stream.text)) for stream in self.frames[place].streams]
            return native.encoder(streams, start, threads)

        self.coded = self._code(make, decoding=False)

    def decode(self, native: NativeModel, start: int) -> list[bytes]:
        """The texts of the code strings, computed token by token."""

        def make(place: int, threads: int) -> Job:
            streams = [(len(stream.text), stream.boundaries) for stream in self.frames[place].streams]
            return native.decoder(self.coded[place], streams, start, threads)

        return self._code(make, decoding=True)

    def _code(self, make: Callable[[int, int], Job], *, decoding: bool) -> list[bytes]:
        out: dict[int, bytes] = {}

        def alone(places: list[int]) -> None:
            for at in range(0, len(places), _AT_ONCE):
                part = places[at : at + _AT_ONCE]
                jobs = [make(place, 1) for place in part]
                work(jobs, 0, self.lanes)
                out.update((place, job.result()) for place, job in zip(part, jobs, strict=True))

        single = [place for place, frame in enumerate(self.frames) if not frame.shared]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(alone, [single[at :: self.threads] for at in range(self.threads)]))
            for place in sorted(set(range(len(self.frames))) - set(single)):
                team = Team(self.threads) if decoding and self.frames[place].teamed else None
                job = make(place, self.threads if team is None else 1)
                together = partial(work, [job], lanes=self.lanes, team=team)
                list(pool.map(together, range(self.threads)))
                out[place] = job.result()
        return [out[place] for place in range(len(self.frames))]

    def digest(self) -> str:
        """The start of the SHA-256 of all code strings."""
        return hashlib.sha256(b"".join(len(c).to_bytes(4, "little") + c for c in self.coded)).hexdigest()[:16]


def main(arguments: list[str]) -> int:
    """Run; the exit code is 1 if a bit differs or a text does not come back."""
    options = parser("exact", __doc__ or "")
    add_texts(options)
    add_run(options)
    given = options.parse_args(arguments)
    return measure(given).finish("exact", given)


def measure(given: argparse.Namespace) -> Outcome:
    """One row for each configuration. Every kernel meets every number of threads and every batch shape."""
    text = mixed(given.data, given.corpus, given.bytes or (_QUICK if given.quick else _FULL))
    outcome = Outcome(about=("model", "kernel", "threads", "batch"))
    kernels = list(given.kernels) or usable_kernels()
    for name, share in _MODELS.items():
        model = store.resolve(name)
        frames = list(_frames(text, model))[::share]
        expected: dict[int, bytes] = {}
        for run in _configurations(name, kernels, frames):
            say(f"exact: {name}, {run.kernel}, threads: {run.threads}, batch: {run.lanes}")
            with _demanded(run.kernel):
                native = store.Model(model.path, zlm.read(model.path)).native
            _check(run, native, model.start, expected, outcome)
        if "generic" not in kernels:
            continue
        sizes = [sum(len(frame.text) for frame in part) for part in (_sample(frames), frames)]
        outcome.notes.append(f"{name}: the scalar kernel ran on {sizes[0]:,} of {sizes[1]:,} bytes")
    bits = sum(int(str(row["differing_bits"])) for row in outcome.rows)
    outcome.targets.append(Target("differing bits in all", bits, 0, at_most=True))
    return outcome


def _frames(text: bytes, model: store.Model) -> Iterator[_Frame]:
    streams = list(_streams(text, model))
    at = number = 0
    while at < len(streams):
        count = _STREAMS_OF[number % len(_STREAMS_OF)]
        yield _Frame(number, streams[at : at + count])
        at += count
        number += 1


def _streams(text: bytes, model: store.Model) -> Iterator[_Stream]:
    step = max(_SHORTEST, min(_LONGEST, len(text) // _STREAMS))
    at = number = 0
    while at < len(text):
        # Unequal, so that lanes end and are refilled at different times.
        part = text[at : at + step * (2 + number % 5) // 4]
        at += len(part)
        boundaries = (len(part) // 3,) if number % 3 == 0 and len(part) > 2 else ()
        tokens: array[int] = array("I")
        for start, end in zip((0, *boundaries), (*boundaries, len(part)), strict=True):
            tokens.extend([model.start | GIVEN] if start else [])
            tokens.extend(model.tokenizer.encode(part[start:end]))
        yield _Stream(part, boundaries, tokens)
        number += 1


def _sample(frames: list[_Frame]) -> list[_Frame]:
    step = max(1, min(_SCALAR_SHARE, len(frames) // _SCALAR_LEAST))
    while math.gcd(step, 2 * len(_STREAMS_OF)) > 1:  # frames of all sizes, alone and together
        step += 1
    return frames[::step]


def _configurations(model: str, kernels: Sequence[str], frames: list[_Frame]) -> Iterator[_Run]:
    """Three for each kernel; which batch shape goes with how many threads is another one for each."""
    for turn, kernel in enumerate(kernels):
        for place, threads in enumerate(THREADS):
            mine = _sample(frames) if kernel == "generic" else frames
            yield _Run(model, kernel, threads, SHAPES[(place + turn) % len(SHAPES)], mine)


def _check(run: _Run, native: NativeModel, start: int, expected: dict[int, bytes], outcome: Outcome) -> None:
    started = time.perf_counter()
    run.encode(native, start)
    encoded = time.perf_counter()
    try:
        texts = run.decode(native, start)
    except DamagedError:
        texts = []
    decoded = time.perf_counter()
    exact = texts == [frame.text for frame in run.frames]
    differing = sum(
        _differing_bits(code, expected.setdefault(frame.number, code))
        for frame, code in zip(run.frames, run.coded, strict=True)
    )
    size = sum(len(frame.text) for frame in run.frames)
    outcome.rows.append(
        {
            "model": run.model,
            "kernel": native.kernel,
            "threads": run.threads,
            "batch": run.lanes,
            "frames": len(run.frames),
            "streams": sum(len(frame.streams) for frame in run.frames),
            "bytes": size,
            "coded": sum(map(len, run.coded)),
            "sha256": run.digest(),
            "differing_bits": differing,
            "decoded": "exact" if exact else "WRONG",
            "encode_kb_s": round(size / 1000 / (encoded - started), 1),
            "decode_kb_s": round(size / 1000 / (decoded - encoded), 1),
        }
    )
    if differing or not exact:
        outcome.wrong.append(f"{run.model}, {run.kernel}, threads: {run.threads}, batch: {run.lanes}")


def _differing_bits(one: bytes, other: bytes) -> int:
    """Bits that differ; what one string has more counts as differing from zeros, and at least a bit a byte."""
    if one == other:
        return 0
    length = max(len(one), len(other))
    bits = int.from_bytes(one.ljust(length, b"\0"), "big") ^ int.from_bytes(other.ljust(length, b"\0"), "big")
    return max(bin(bits).count("1"), abs(len(one) - len(other)))


@contextmanager
def _demanded(kernel: str) -> Iterator[None]:
    before = os.environ.get("ZLLM_KERNEL")
    os.environ["ZLLM_KERNEL"] = kernel
    try:
        yield
    finally:
        if before is None:
            del os.environ["ZLLM_KERNEL"]
        else:
            os.environ["ZLLM_KERNEL"] = before
