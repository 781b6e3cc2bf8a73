"""Which section may have a member of a given name: a filter of one byte a name, without the names.

A Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970) of 8 bits a name and 5
probes: of the names that are not there, 2.2% seem to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zllm.format.wire import checksum64

_PROBES = 5
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class NameFilter:
    """``bits``: one byte for each name. ``seed``: that of the archive."""

    bits: bytes
    seed: int

    @classmethod
    def of(cls, names: Iterable[str | bytes], seed: int) -> NameFilter:
        """The filter of these names."""
        coded = [plain(name) for name in names]
        bits = bytearray(len(coded))
        for name in coded:
            for bit in _places(name, len(bits), seed):
                bits[bit >> 3] |= 1 << (bit & 7)
        return cls(bytes(bits), seed)

    def may_have(self, name: str | bytes) -> bool:
        """False if no member has the name; True if one has it, and seldom if none has."""
        bits = self.bits
        if not bits:
            return False
        return all(bits[bit >> 3] >> (bit & 7) & 1 for bit in _places(plain(name), len(bits), self.seed))


def plain(name: str | bytes) -> bytes:
    """The bytes of a name in the tar stream, without slashes at its end."""
    return (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).rstrip(b"/")


def _places(name: bytes, size: int, seed: int) -> Iterator[int]:
    """Numbers of the bits of a name in a filter of ``size`` bytes."""
    value = checksum64(name, seed=seed)
    at, step = value & _MASK, value >> 32 | 1
    for _ in range(_PROBES):
        yield at * (8 * size) >> 32
        at = at + step & _MASK
