"""Which byte of a damaged part is wrong, from what the damage does to its checksum.

CRC-32 is linear: what a wrong byte changes in the checksum depends on the byte's change and on how far from the end it
is, and on nothing else. Its polynomial is primitive, so no two wrong bits of a part of up to 512 MiB look the same.

The change of the checksum, its *syndrome*, is taken back byte by byte from the end, until it is what a changed byte
gives there (``_TABLE``): in steps of ``_STRIDE`` bytes, each compared with all changes of that many bytes at once, so
that a part of 64 MiB takes a tenth of a second.
"""

from __future__ import annotations

import functools
import zlib

_STRIDE = 256
_TABLE = tuple(zlib.crc32(bytes([value]), 0xFFFFFFFF) ^ 0xFFFFFFFF for value in range(256))
"""What the register is behind a byte, if it was 0 before."""
_LAST = {entry >> 24: value for value, entry in enumerate(_TABLE)}
_Tables = tuple[tuple[int, ...], ...]


def places(syndrome: int, size: int) -> list[tuple[int, int]]:
    """All changes of one byte that have this syndrome in ``size`` bytes: offset and change, those of one bit first.

    The same list for two different damages: of a part with more than one wrong byte, a list that means nothing.
    """
    near, back = _near(), _back()
    found = []
    for end in range(size - 1, -1, -_STRIDE):
        for distance, change in near.get(syndrome, ()):
            if distance <= end:
                found.append((end - distance, change))
        syndrome = (
            back[0][syndrome & 0xFF] ^ back[1][syndrome >> 8 & 0xFF] ^ back[2][syndrome >> 16 & 0xFF]
            ^ back[3][syndrome >> 24]
        )  # fmt: skip
    return sorted(found, key=lambda place: (place[1].bit_count() > 1, place))


@functools.lru_cache(maxsize=1)
def _near() -> dict[int, tuple[tuple[int, int], ...]]:
    """By syndrome: changes of one of the last bytes, as distance from the end and change."""
    out: dict[int, tuple[tuple[int, int], ...]] = {}
    syndromes = list(_TABLE[1:])
    for distance in range(_STRIDE):
        for change, syndrome in enumerate(syndromes, 1):
            out[syndrome] = (*out.get(syndrome, ()), (distance, change))
        syndromes = [_TABLE[syndrome & 0xFF] ^ syndrome >> 8 for syndrome in syndromes]
    return out


@functools.lru_cache(maxsize=1)
def _back() -> _Tables:
    """What takes a syndrome back by ``_STRIDE`` bytes, by each byte of it."""
    images = []
    for bit in range(32):
        value = 1 << bit
        for _ in range(_STRIDE):
            low = _LAST[value >> 24]
            value = (value ^ _TABLE[low]) << 8 & 0xFFFFFFFF | low
        images.append(value)
    tables = []
    for start in range(0, 32, 8):
        table = [0]
        for image in images[start : start + 8]:
            table += [entry ^ image for entry in table]
        tables.append(tuple(table))
    return tuple(tables)
