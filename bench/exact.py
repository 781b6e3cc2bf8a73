"""Whether the same text gives the same bits, whatever computes it: kernels, threads, batch shapes, encoding in bulk and
decoding step by step.

The text is cut into streams of unequal length, some with a second document inside. Each configuration encodes and
decodes all of them; every code string has to be, bit for bit, the one that the first configuration made. The scalar
kernel is slow and gets a sample of the streams, as the table says.
"""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from bench.common import Outcome, Settings, Target, say
from bench.texts import mixed
from zllm._native import GIVEN, usable_kernels
from zllm._native import Model as NativeModel
from zllm.errors import DamagedError
from zllm.models import store, zlm

_FULL, _QUICK = 10_000_000, 200_000
_SCALAR_SHARE, _SCALAR_LEAST = 50, 20  # the scalar kernel gets one stream of so many, but not fewer streams than that
_STREAMS = 640  # at least 64 for each of 7 threads
_SHORTEST, _LONGEST = 1 << 10, 16 << 10
THREADS, SHAPES = (1, 2, 7), (1, 3, 64)

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Piece:
    """A stream: its number, its text, where its second document starts (if it has one), and its tokens."""

    number: int
    text: bytes
    cuts: tuple[int, ...]
    tokens: array[int]


@dataclass
class _Run:
    """One configuration and what it made of the pieces."""

    kernel: str
    threads: int
    lanes: int
    pieces: list[_Piece]
    coded: list[bytes] = field(default_factory=list)

    def spread(self, work: Callable[[list[int]], list[_T]]) -> list[_T]:
        """``work`` on the pieces, by their places in the list, shared out among the threads."""
        shares = [list(range(at, len(self.pieces), self.threads)) for at in range(self.threads)]
        out: dict[int, _T] = {}
        with ThreadPoolExecutor(self.threads) as pool:
            for share, results in zip(shares, pool.map(work, shares), strict=True):
                out.update(zip(share, results, strict=True))
        return [out[place] for place in range(len(self.pieces))]

    def encode(self, native: NativeModel, start: int) -> None:
        """Code all pieces."""
        self.coded = self.spread(
            lambda share: native.encode([self.pieces[i].tokens for i in share], start, self.lanes)
        )  # fmt: skip

    def decode(self, native: NativeModel, start: int) -> list[bytes]:
        """The texts of the code strings, computed token by token."""
        return self.spread(
            lambda share: native.decode(
                [(self.coded[i], len(self.pieces[i].text), self.pieces[i].cuts) for i in share], start, self.lanes
            )
        )

    def digest(self) -> str:
        """The start of the SHA-256 of all code strings."""
        return hashlib.sha256(b"".join(len(c).to_bytes(4, "little") + c for c in self.coded)).hexdigest()[:16]


def measure(settings: Settings) -> Outcome:
    """One row for each configuration. Every kernel meets every number of threads and every batch shape."""
    text = mixed(settings.data, settings.corpus, settings.bytes(_FULL, _QUICK))
    model = store.resolve(store.DEFAULT_NAME)
    pieces = list(_pieces(text, model))
    outcome = Outcome()
    expected: dict[int, bytes] = {}
    for run in _configurations(list(settings.kernels) or usable_kernels(), pieces):
        say(f"exact: {run.kernel}, threads: {run.threads}, batch: {run.lanes}")
        with _demanded(run.kernel):
            native = store.Model(model.path, zlm.read(model.path)).native
        _check(run, native, model.start, expected, outcome)
    bits = sum(int(str(row["differing_bits"])) for row in outcome.rows)
    outcome.targets.append(Target("differing bits in all", bits, 0, at_most=True))
    sampled = sum(len(piece.text) for piece in _sample(pieces))
    outcome.notes.append(f"the scalar kernel ran on {sampled:,} of {len(text):,} bytes")
    return outcome


def _pieces(text: bytes, model: store.Model) -> Iterator[_Piece]:
    step = max(_SHORTEST, min(_LONGEST, len(text) // _STREAMS))
    at = number = 0
    while at < len(text):
        # Unequal, so that lanes end and are refilled at different times.
        piece = text[at : at + step * (2 + number % 5) // 4]
        at += len(piece)
        cuts = (len(piece) // 3,) if number % 3 == 0 and len(piece) > 2 else ()
        tokens: array[int] = array("I")
        for start, end in zip((0, *cuts), (*cuts, len(piece)), strict=True):
            tokens.extend([model.start | GIVEN] if start else [])
            tokens.extend(model.tokenizer.encode(piece[start:end]))
        yield _Piece(number, piece, cuts, tokens)
        number += 1


def _sample(pieces: list[_Piece]) -> list[_Piece]:
    return pieces[:: max(1, min(_SCALAR_SHARE, len(pieces) // _SCALAR_LEAST))]


def _configurations(kernels: Sequence[str], pieces: list[_Piece]) -> Iterator[_Run]:
    """Three for each kernel; which batch shape goes with how many threads is another one for each."""
    for turn, kernel in enumerate(kernels):
        for place, threads in enumerate(THREADS):
            mine = _sample(pieces) if kernel == "generic" else pieces
            yield _Run(kernel, threads, SHAPES[(place + turn) % len(SHAPES)], mine)


def _check(run: _Run, native: NativeModel, start: int, expected: dict[int, bytes], outcome: Outcome) -> None:
    started = time.perf_counter()
    run.encode(native, start)
    encoded = time.perf_counter()
    try:
        texts = run.decode(native, start)
    except DamagedError:
        texts = []
    decoded = time.perf_counter()
    exact = texts == [piece.text for piece in run.pieces]
    differing = sum(
        _differing_bits(code, expected.setdefault(piece.number, code))
        for piece, code in zip(run.pieces, run.coded, strict=True)
    )
    size = sum(len(piece.text) for piece in run.pieces)
    outcome.rows.append(
        {
            "kernel": native.kernel,
            "threads": run.threads,
            "batch": run.lanes,
            "streams": len(run.pieces),
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
        outcome.wrong.append(f"{run.kernel}, threads: {run.threads}, batch: {run.lanes}")


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
