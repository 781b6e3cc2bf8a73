"""Files with holes: the map of one is checked before any work; long runs of zeros in any data become holes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable

from zllm.errors import DamagedError
from zllm.format.tarscan import BLOCK, EXTENDED, data_size, number, padded

_HOLE = 1 << 16
"""Zeros of this length, at a multiple of it, are not written. A power of two, and a multiple of every block size."""
_ZEROS = bytes(_HOLE)
_OLD_SPARSE_MORE = 482
_SPARSE_BLOCK_MORE = 504


def stored_size(unit: bytes) -> int:
    """How much data is left after ``unit``: a member's headers and, if the map is part of the data, that map."""
    pos = 0
    while unit[pos + 156 : pos + 157] in EXTENDED and pos + BLOCK < len(unit):
        pos += BLOCK + padded(max(0, number(unit[pos + 124 : pos + 136]) or 0))
    more = unit[pos + 156 : pos + 157] == b"S" and unit[pos + _OLD_SPARSE_MORE : pos + _OLD_SPARSE_MORE + 1] > b"\0"
    pos += BLOCK
    while more and pos < len(unit):
        more = unit[pos + _SPARSE_BLOCK_MORE : pos + _SPARSE_BLOCK_MORE + 1] > b"\0"
        pos += BLOCK
    return data_size(unit) - max(0, len(unit) - pos)


def check(member: tarfile.TarInfo, regions: Iterable[tuple[int, int]], stored: int) -> None:
    """Check the map of a member with ``stored`` bytes of data.

    Raises:
        DamagedError: regions below zero, out of order, overlapping or behind the end, or with more data than there is.
    """
    end = total = 0
    for offset, size in regions:
        if size == 0:  # GNU tar marks the end so
            continue
        if offset < end or size < 0 or offset + size > member.size:
            raise DamagedError(f"{member.name}: its map of holes is impossible", member=member.name)
        end = offset + size
        total += size
    if total > stored or member.size < 0:
        raise DamagedError(f"{member.name}: its map of holes is impossible", member=member.name)


def write(descriptor: int, pieces: Iterable[tuple[int, bytes]], size: int) -> None:
    """Write pieces at their offsets into a new file, which has ``size`` bytes in the end. Raises OSError."""
    end = 0
    for offset, data in pieces:
        end = max(end, _write_piece(descriptor, offset, data))
    if end < size:
        os.ftruncate(descriptor, size)


def _write_piece(descriptor: int, offset: int, data: bytes) -> int:
    """Where the last byte that was written ends."""
    begin = 0  # of what is to be written
    end = 0
    place = -offset % _HOLE
    while place + _HOLE <= len(data):
        following = place + _HOLE
        if not data[place] and not data[following - 1] and data[place:following] == _ZEROS:
            end = max(end, _all(descriptor, memoryview(data)[begin:place], offset + begin))
            begin = following
        place = following
    return max(end, _all(descriptor, memoryview(data)[begin:], offset + begin))


def _all(descriptor: int, data: memoryview, offset: int) -> int:
    if not data:
        return 0
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count
    return offset
