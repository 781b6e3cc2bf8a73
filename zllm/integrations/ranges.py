"""A file of a remote file system that is read by ranges: few bytes at a time, few requests."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

from zllm.archive.readinto import ReadInto

_BLOCK = 1 << 16
_KEPT = 32
_TAIL = 4 * _BLOCK
"""Bytes of the end that come with the first request there: footer and directory of most archives."""


class RangeFile(ReadInto, io.RawIOBase):
    """Of ``path`` in ``system``, an fsspec file system whose ``cat_file`` takes a range; it has ``size`` bytes.

    Small reads come by blocks, of which the last 2 MiB are kept; longer ones are requests of their own. Not for several
    threads at the same time: an archive's readers hold its lock.
    """

    def __init__(self, system: Any, path: str, size: int) -> None:
        super().__init__()
        self.name = path
        self.size = size
        self._system = system
        self._position = 0
        self._whole: bytes | None = None
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files have it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(22, "negative seek position")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, all that is left if it is negative; fewer only at the end.

        Raises:
            OSError: they cannot be fetched.
        """
        start = min(self._position, self.size)
        end = self.size if size is None or size < 0 else min(self.size, start + size)
        data = self._fetched(start, end) if end - start > 2 * _BLOCK else self._from_blocks(start, end)
        self._position = start + len(data) if data else self._position
        return data

    def _from_blocks(self, start: int, end: int) -> bytes:
        wanted = range(start // _BLOCK, -(-end // _BLOCK))
        missing = [number for number in wanted if number not in self._blocks]
        if missing:
            first, last = missing[0], missing[-1] + 1
            if not self._blocks and end > self.size - _TAIL:
                first = min(first, max(0, self.size - _TAIL) // _BLOCK)
            data = self._fetched(first * _BLOCK, min(self.size, last * _BLOCK))
            for number in range(first, last):
                at = (number - first) * _BLOCK
                self._blocks[number] = data[at : at + _BLOCK]
        for number in wanted:
            self._blocks.move_to_end(number)
        data = b"".join(self._blocks[number] for number in wanted)
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
        at = start - wanted.start * _BLOCK
        return data[at : at + end - start]

    def _fetched(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        if self._whole is not None:
            return self._whole[start:end]
        data: bytes = self._system.cat_file(self.name, start=start, end=end)
        if len(data) == self.size:  # a server that knows no ranges sends the whole: once is enough
            self._whole = data
            data = data[start:end]
        if len(data) != end - start:
            raise OSError(5, f"{len(data)} bytes came of {end - start} that were asked for", self.name)
        return data
