"""Integers on the wire, and reading them back without trusting them."""

from __future__ import annotations

import xxhash

from zllm.errors import DamagedError

MAX_VARINT_BYTES = 10


def checksum64(*parts: bytes | bytearray | memoryview, seed: int = 0) -> int:
    """xxh3-64 of the parts, one after the other."""
    if len(parts) == 1:
        return xxhash.xxh3_64_intdigest(parts[0], seed)
    state = xxhash.xxh3_64(seed=seed)
    for part in parts:
        state.update(part)
    return state.intdigest()


def checksum(size: int, *parts: bytes | bytearray | memoryview, seed: int = 0) -> bytes:
    """The low ``size`` bytes of :func:`checksum64`, lowest first."""
    return checksum64(*parts, seed=seed).to_bytes(8, "little")[:size]


def put_varint(out: bytearray, value: int) -> None:
    """Append ``value`` in LEB128: 7 bits a byte, low bits first, the top bit says that more follow."""
    if value < 0 or value >> 64:
        raise ValueError(f"{value} does not fit into a varint")
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def varints(values: list[int]) -> bytes:
    """Many varints, one after the other."""
    out = bytearray()
    for value in values:
        if 0 <= value < 0x80:
            out.append(value)
        else:
            put_varint(out, value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Small for small magnitudes: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """The inverse of :func:`zigzag`."""
    return value >> 1 if not value & 1 else -((value + 1) >> 1)


class Reader:
    """Takes fields off the front of a buffer. Every shortage is a :class:`DamagedError` that names ``what``."""

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self.data = memoryview(data)
        self.pos = 0
        self.what = what

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self.data) - self.pos

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count < 0 or count > self.left:
            raise DamagedError(f"{self.what} is damaged: {count} bytes wanted, {self.left} left")
        start = self.pos
        self.pos += count
        return bytes(self.data[start : self.pos])

    def byte(self) -> int:
        """The next byte."""
        if self.pos >= len(self.data):
            raise DamagedError(f"{self.what} is damaged: a column is too short")
        self.pos += 1
        return self.data[self.pos - 1]

    def fixed(self, size: int) -> int:
        """A little-endian unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def varint(self, limit: int = (1 << 64) - 1) -> int:
        """A varint that must not exceed ``limit``."""
        value = shift = 0
        while True:
            if self.pos >= len(self.data) or shift >= 7 * MAX_VARINT_BYTES:
                raise DamagedError(f"{self.what} is damaged: a number does not end")
            byte = self.data[self.pos]
            self.pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if not byte and shift:
            raise DamagedError(f"{self.what} is damaged: a number is longer than it need be")
        if value > limit:
            raise DamagedError(f"{self.what} is damaged: {value} where at most {limit} is possible")
        return value

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise DamagedError(f"{self.what} is damaged: {self.left} bytes too many")


def read_varints(data: bytes, what: str, most: int) -> list[int]:
    """All varints of a column, ``most`` at most.

    Raises:
        DamagedError: there are more, or the last one does not end.
    """
    if len(data) > most * MAX_VARINT_BYTES:
        raise DamagedError(f"{what} is damaged: a column is too long")
    values = list(data) if not data or max(data) < 0x80 else _varints(data, what)
    if len(values) > most:
        raise DamagedError(f"{what} is damaged: a column is too long")
    return values


def _varints(data: bytes, what: str) -> list[int]:
    values = []
    value = shift = 0
    for byte in data:
        if byte < 0x80:
            if not byte and shift:
                break
            values.append(value | byte << shift)
            value = shift = 0
            continue
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift >= 7 * MAX_VARINT_BYTES:
            break
    if shift or max(values) >> 64:
        raise DamagedError(f"{what} is damaged: a number does not end")
    return values
