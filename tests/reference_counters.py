"""What the reference predictor's parts share: tables of docs/arithmetic.md, section 9, adaptive probabilities, and bit
histories with their slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

ONE = 2**24
V = TypeVar("V")


def hashed(v: int) -> int:
    return (v * 0x9E3779B97F4A7C15 >> 32) & 0xFFFFFFFF


def _squash_table() -> list[int]:
    """Index x + 2047."""
    e, below = 2**31, []
    for _ in range(2048):
        below.append(ONE * e // (2**31 + e))
        e = (e * 4269875056 + 2**31) >> 32
    return below[:0:-1] + [2**23] + [ONE - p for p in below[1:]]


SQUASH = _squash_table()


def squash(x: int) -> int:
    return SQUASH[x + 2047]


def _stretch_table() -> list[int]:
    low = [next(x for x in range(-2047, 1) if squash(x) >= 4096 * i + 2048) for i in range(2048)]
    return low + [-x for x in reversed(low)]


STRETCH = _stretch_table()


class Adaptive:
    """An adaptive probability of a one, in 2^-22."""

    __slots__ = ("limit", "n", "p")

    def __init__(self, p: int, n: int, limit: int) -> None:
        self.p, self.n, self.limit = p, n, limit

    def learn(self, bit: int) -> None:
        t = 2**22 - 1 if bit else 0
        self.p += ((t - self.p) * (131072 // (2 * self.n + 3))) >> 16
        if self.n < self.limit:
            self.n += 1


class Lazy(dict[int, V], Generic[V]):
    """A large table of which few entries are used: each is made when it first is."""

    def __init__(self, make: Callable[[int], V]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, key: int) -> V:
        self[key] = value = self.make(key)
        return value


# Bit histories.

History = tuple[int, int, int]
"""Zeros, ones, last bit."""


def allowed(zeros: int, ones: int) -> bool:
    few, many = sorted((zeros, ones))
    return few <= 5 and many <= (34, 20, 12, 8, 6, 5)[few]


def _long_histories() -> list[History]:
    """Those of more than four bits, in the order of their numbers."""
    found = []
    for total in range(5, 40):
        for zeros in range(total + 1):
            ones = total - zeros
            if allowed(zeros, ones):
                found += [(zeros, ones, last) for last in (0, 1) if (zeros, ones)[last]]
    return found


LONG = _long_histories()
NUMBER = {history: 31 + i for i, history in enumerate(LONG)}


def short(bits: str) -> int:
    """The number of a history of at most four bits."""
    return (1 << len(bits)) - 1 + int("0" + bits, 2)


def bits_of(state: int) -> str:
    n = (state + 1).bit_length() - 1
    return f"{state + 1:b}"[1:] if n else ""


def counts(state: int) -> list[int]:
    if state >= 31:
        return list(LONG[state - 31][:2])
    bits = bits_of(state)
    return [bits.count("0"), bits.count("1")]


def successor(state: int, bit: int) -> int:
    if state < 15:
        return short(bits_of(state) + str(bit))
    n, other = counts(state), 1 - bit
    n[bit] += 1
    n[other] = (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5)[n[other]] if n[other] < 12 else 6
    while not allowed(*n):
        n[other if n[other] > n[bit] else bit] -= 1
    if sum(n) <= 4:
        return short(str(other) * n[other] + str(bit) * n[bit])
    return NUMBER[n[0], n[1], bit]


STATES = 31 + len(LONG)
NEXT = [[successor(state, bit) for bit in (0, 1)] for state in range(STATES)]
INITIAL = [2**22 * (10 * counts(s)[1] + 4) // (10 * sum(counts(s)) + 8) for s in range(STATES)]


class Histories:
    """The table of slots, of the contexts that are hashed."""

    def __init__(self, size: int, most: int) -> None:
        bits = next((t for t in range(16, most) if 2**t >= 64 * size), most)
        self.bytes = bytearray(2**bits)

    def slot(self, key: int) -> int:
        """Where the slot of a key is; it is taken if there is none."""
        line = key % (len(self.bytes) // 64) * 64
        slots, check = range(line, line + 64, 16), key >> 24
        for at in slots:
            if self.bytes[at] == check:
                return at
        at = min(slots, key=lambda slot: self.bytes[slot + 1])
        self.bytes[at : at + 16] = bytes([check, *bytes(15)])
        return at


def upper_of(partial: int) -> int:
    """A byte's upper nibble, after a one, if its lower nibble has begun, else 0."""
    return partial >> (partial.bit_length() - 5) if partial >= 16 else 0


def slot_key(h: int, upper: int) -> int:
    """Of a nibble."""
    return ((h ^ (1 + upper % 2)) + upper * 0x9D000000) & 0xFFFFFFFF if upper else h
