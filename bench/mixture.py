"""A deterministic mixture of members, generated while it is read: nothing of it is ever whole in memory."""

from __future__ import annotations

import io
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BLOCK = 64 << 10
_SMALL = (200, 20_000)
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


@dataclass(frozen=True)
class Member:
    """One file: its name, what it is made of, how long it is, and where its randomness starts."""

    name: str
    kind: str
    size: int
    seed: int

    def open(self) -> io.BufferedReader:
        """Its bytes, from the start."""
        return io.BufferedReader(_Stream(self), _BLOCK)


def mixture(size: int, text_share: float) -> Iterator[Member]:
    """Members of ``size`` bytes in all: a fifth of them one noise file, ``text_share`` text, then everything else."""
    text = int(size * text_share)
    shares = [
        ("noise.bin", "noise", int(size * 0.2 * (1 - text_share))),
        ("prose.txt", "text", text // 2),
        ("zeros.img", "zeros", int(size * 0.05 * (1 - text_share))),
        ("weights.f32", "floats", int(size * 0.2 * (1 - text_share))),
        ("app.log", "log", int(size * 0.05 * (1 - text_share))),
    ]
    for seed, (name, kind, length) in enumerate(shares):
        yield Member(f"large/{name}", kind, length, seed)
    rest = size - sum(length for _, _, length in shares)
    yield from _medium_and_small(rest, text - text // 2)


def _medium_and_small(size: int, text: int) -> Iterator[Member]:
    rng = random.Random(11)
    number = 0
    while size > 0:
        number += 1
        if text > 0:
            kind, length = "text", min(rng.randint(*_SMALL), text)
            text -= length
        elif number % 200 == 0:
            kind, length = "code", rng.randint(1 << 20, 16 << 20)
        else:
            kind, length = rng.choice(("noise", "log", "code")), rng.randint(*_SMALL)
        length = min(length, size)
        size -= length
        yield Member(f"many/{number % 100:02}/{number:06}.{kind}", kind, length, number)


class _Stream(io.RawIOBase):
    def __init__(self, member: Member) -> None:
        self._left = member.size
        self._rng = random.Random(member.seed)
        self._make = _KINDS[member.kind]
        self._block = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._block:
            self._block = memoryview(self._make(self._rng))
        count = min(len(target), len(self._block), self._left)
        target[:count] = self._block[:count]
        self._block = self._block[count:]
        self._left -= count
        return count


def _words(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    weights = range(len(_LETTERS), 0, -1)
    return ["".join(rng.choices(_LETTERS, weights, k=rng.randint(1, 9))) for _ in range(count)]


_VOCABULARY = _words(1, 3000)
_FREQUENCIES = [1 / (rank + 3) for rank in range(len(_VOCABULARY))]
# Machine code like: a few thousand instruction-like pieces in ever new order.
_PIECES = [random.Random(2).randbytes(1 + index % 9) for index in range(4000)]


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(_BLOCK)


def _text(rng: random.Random) -> bytes:
    words = rng.choices(_VOCABULARY, _FREQUENCIES, k=2000)
    return (" ".join(word + ".\n" * (index % 17 == 16) for index, word in enumerate(words)) + "\n").encode()


def _zeros(rng: random.Random) -> bytes:
    return bytes(_BLOCK)


def _floats(rng: random.Random) -> bytes:
    return array("f", (rng.gauss(0, 0.02) for _ in range(4096))).tobytes() * 4


def _log(rng: random.Random) -> bytes:
    start = rng.randrange(10**6)
    lines = (
        f"2024-03-01T12:{n // 60 % 60:02}:{n % 60:02} host svc[{start}]: request {start + n} done in {n % 97} ms\n"
        for n in range(500)
    )
    return "".join(lines).encode()


def _code(rng: random.Random) -> bytes:
    return b"".join(rng.choices(_PIECES, k=_BLOCK // 5))


_KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "noise": _noise,
    "text": _text,
    "zeros": _zeros,
    "floats": _floats,
    "log": _log,
    "code": _code,
}
