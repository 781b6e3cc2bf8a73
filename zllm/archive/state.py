"""The tar stream of an archive that was changed: without what was deleted, and without the ends between generations."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from itertools import pairwise

from zllm.archive.archive import Archive
from zllm.archive.fileview import FileView
from zllm.archive.generations import Generation
from zllm.archive.readinto import ReadInto
from zllm.errors import BrokenTarError, DamagedError
from zllm.format.limits import BLOCK
from zllm.format.tarscan import padded

Span = tuple[int, int]


class StateStream(ReadInto, io.RawIOBase):
    """What a program that reads tar streams is to see of an archive in a file: one tar, of the members as they are.

    Reading raises what the archive's view raises.
    """

    def __init__(self, archive: Archive, view: FileView) -> None:
        super().__init__()
        self._view = view
        self._spans = left_out(archive, view)
        self._position = 0
        self._next: Span | None = next(self._spans, None)

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, all that is left if it is negative; fewer at the end."""
        pieces: list[bytes] = []
        left = self._view.size if size is None or size < 0 else size
        while left and (count := min(left, self._until() - self._position)) > 0:
            with self._view.lock:
                self._view.seek(self._position)
                strict, self._view.strict = self._view.strict, False  # several archives are one stream
                try:
                    piece = self._view.read(count)
                finally:
                    self._view.strict = strict
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
            self._position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _until(self) -> int:
        """How far the stream can be given from here on; goes past what is left out here."""
        while self._next is not None and self._next[0] <= self._position:
            self._position = max(self._position, self._next[1])
            self._next = next(self._spans, None)
        return self._next[0] if self._next is not None else self._view.size


def left_out(archive: Archive, view: FileView) -> Iterator[Span]:
    """Where in the tar stream what is no part of it any more begins and ends, in order."""
    return heapq.merge(_hidden(archive), _ends(view))


def _hidden(archive: Archive) -> Iterator[Span]:
    """Members that were deleted."""
    try:
        for member in archive.everything():
            if archive.view.hides(member.name, member.offset):
                start, size = member.stored
                yield member.offset, start + padded(size)
    except (DamagedError, BrokenTarError):  # it is among the problems
        return


def _ends(view: FileView) -> Iterator[Span]:
    """The zeros at the end of each generation that another one follows."""
    streams = [one for one in view.generations if one.stream_start < one.stream_end]
    for before, after in pairwise(streams):
        if before.base == after.base and (span := end_of(view, before)) is not None:
            yield span


def end_of(view: FileView, generation: Generation) -> Span | None:
    """The whole blocks of zeros behind the last member of a generation."""
    start = end = generation.stream_end
    while start > generation.stream_start:
        section = view.section_at(start - 1)
        if section is None:
            break
        record = section.layout.records[-1]
        start -= record.zeros
        if record.header_size or record.data_size or len(section.layout.records) > 1:
            break
    start += -(start - generation.stream_start) % BLOCK
    return (start, end) if start < end else None
