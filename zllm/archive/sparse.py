"""Files with holes, for packing: what is data, without reading the holes, and GNU's sparse format 1.0.

The format puts a map before the data: the number of pieces, then offset and size of each, as decimal lines, filled up
with zeros to a whole block. GNU tar, bsdtar and :mod:`tarfile` read it.
"""

from __future__ import annotations

import os
from typing import IO

from zllm.format.limits import BLOCK

_MAX_PIECES = 1 << 16
"""Of one file. Beyond it the shortest holes are stored as zeros, so that no file takes memory without end."""

Pieces = list[tuple[int, int]]


def pieces_of(file: IO[bytes], state: os.stat_result) -> Pieces | None:
    """Offset and size of what is data in an open file; None if it has no holes, or the system does not tell.

    A file has holes if it takes less room than its size says (as ``tar --sparse`` decides) and the system shows
    where: file systems that compress have small files without holes.
    """
    if not hasattr(os, "SEEK_HOLE") or not 0 <= state.st_blocks * 512 < state.st_size:
        return None
    descriptor, size = file.fileno(), state.st_size
    pieces: Pieces = []
    smallest = 0
    position = 0
    try:
        while (start := _seek(descriptor, position, os.SEEK_DATA)) is not None and start < size:
            position = min(_seek(descriptor, start, os.SEEK_HOLE) or size, size)
            pieces.append((start, position - start))
            if len(pieces) > _MAX_PIECES:
                smallest, pieces = _fewer(pieces, smallest)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:  # a file system without these calls
        os.lseek(descriptor, 0, os.SEEK_SET)
        return None
    if size - sum(length for _, length in pieces) < BLOCK:
        return None
    if not pieces or sum(pieces[-1]) < size:
        pieces.append((size, 0))  # a hole at the end, as GNU tar writes it
    return pieces


def _seek(descriptor: int, position: int, how: int) -> int | None:
    try:
        return os.lseek(descriptor, position, how)
    except OSError as error:
        if error.errno == 6:  # ENXIO: nothing but a hole up to the end
            return None
        raise


def _fewer(pieces: Pieces, smallest: int) -> tuple[int, Pieces]:
    """At most half as many pieces: those with a short hole between them become one."""
    while len(pieces) > _MAX_PIECES // 2:
        smallest = max(4096, 2 * smallest)
        joined = pieces[:1]
        for start, length in pieces[1:]:
            last, size = joined[-1]
            if start - (last + size) <= smallest:
                joined[-1] = last, start + length - last
            else:
                joined.append((start, length))
        pieces = joined
    return smallest, pieces


class SparseReader:
    """Reads the map, then the pieces, one after the other: the data of the member. ``size`` bytes in all."""

    def __init__(self, file: IO[bytes], pieces: Pieces) -> None:
        lines = [str(len(pieces)), *(str(number) for piece in pieces for number in piece)]
        data = ("\n".join(lines) + "\n").encode()
        self._front = data + bytes(-len(data) % BLOCK)
        self._file = file
        self._pieces = iter(pieces)
        self._left = 0  # of the piece that the file is at
        self.size = len(self._front) + sum(length for _, length in pieces)

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none only at the end, or where the file has become shorter."""
        if self._front:
            data, self._front = self._front[:count], self._front[count:]
            return data
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._file.seek(piece[0])
            self._left = piece[1]
        data = self._file.read(min(count, self._left))
        self._left -= len(data)
        return data
