"""Single wrong bits and bytes of headers and maps: found by trying which change makes the checksum hold.

A checksum of 32 bits tells one change from the others: of the 2,000,000 that are tried at most, one in two thousand
searches would find a wrong one, and what is read by it is proved by hashes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import xxhash

_OVERHEAD = 2048
"""What a try costs beside its bytes, in bytes hashed."""
_MASK = 0xFFFFFFFF


class Budget:
    """What may be hashed in searches for one archive: about a second of work, however many of its parts are damaged."""

    def __init__(self, left: int = 16 << 30) -> None:
        self.left = left

    def spend(self, tries: int, size: int) -> bool:
        """Whether there is enough left for so many tries of ``size`` bytes each; then it is taken."""
        cost = tries * (size + _OVERHEAD)
        if cost > self.left:
            return False
        self.left -= cost
        return True


def blob(data: bytes, check: int, budget: Budget) -> bytes | None:
    """``data`` with the one bit, or the one byte, changed that makes ``check`` its checksum; None: there is none."""
    text = bytearray(data)
    for values in (_BITS, _BYTES):
        if budget.spend(len(values) * len(text), len(text)) and _try(text, check, values):
            return bytes(text)
    return None


_BITS = tuple(1 << bit for bit in range(8))
_BYTES = tuple(value for value in range(1, 256) if value & (value - 1))


def _try(text: bytearray, check: int, values: tuple[int, ...]) -> bool:
    """Leave ``text`` changed if a change makes the checksum hold."""
    digest = xxhash.xxh3_64_intdigest
    for at, byte in enumerate(text):
        for value in values:
            text[at] = byte ^ value
            if digest(text) & _MASK == check:
                return True
        text[at] = byte
    return False


def sealed(data: bytes, size_of: Callable[[bytes], int], budget: Budget) -> tuple[bytes, int] | None:
    """A front that ends with the checksum of what is before it: whole again, with its length, after one change.

    ``data`` begins with it and may be longer; ``size_of`` tells its length from its first bytes, and raises ValueError
    for bytes that cannot be such a front's. The change may be in the length.
    """
    if budget.spend(_LENGTH_AT * 255, _PER_FRONT):
        for text, size in _fronts(data, size_of):
            if _holds(text[:size]):
                return text[:size], size
    try:
        size = size_of(data)
    except ValueError:
        return None
    body, stored = data[: size - 4], int.from_bytes(data[size - 4 : size], "little")
    if len(data) < size:
        return None
    fixed = blob(body, stored, budget)
    if fixed is not None:
        return fixed + data[size - 4 : size], size
    difference = xxhash.xxh3_64_intdigest(body) & _MASK ^ stored
    if sum(byte != 0 for byte in difference.to_bytes(4, "little")) == 1:  # the checksum itself is what is wrong
        return body + (stored ^ difference).to_bytes(4, "little"), size
    return None


def _fronts(data: bytes, size_of: Callable[[bytes], int]) -> Iterator[tuple[bytes, int]]:
    """``data`` with each other value in each of the first bytes, where that makes another length."""
    for at in range(min(_LENGTH_AT, len(data))):
        for value in range(1, 256):
            text = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
            try:
                size = size_of(text)
            except ValueError:
                continue
            if size <= len(text):
                yield text, size


_LENGTH_AT = 6
"""Magic and length of a section header."""
_PER_FRONT = 32 << 10
"""What telling a front's length costs, in bytes hashed."""


def _holds(front: bytes) -> bool:
    return xxhash.xxh3_64_intdigest(front[:-4]) & _MASK == int.from_bytes(front[-4:], "little")
