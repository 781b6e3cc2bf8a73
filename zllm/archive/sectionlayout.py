"""A section map, laid out: which frame has which bytes of the section."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from zllm.format import sectionmap
from zllm.format.frames import FrameRow
from zllm.format.sectionmap import Record, SectionMap


class Extent(NamedTuple):
    """Bytes ``start`` to ``start + size`` of frame number ``frame``."""

    frame: int
    start: int
    size: int


class Place(NamedTuple):
    """Where a byte of the section is: record number, and how far into the record."""

    record: int
    offset: int


class SectionLayout:
    """Offsets are bytes: records' from the section's start in the tar stream, frames' from the first frame's start."""

    def __init__(self, section_map: SectionMap) -> None:
        self._runs = section_map.runs
        self.records = section_map.records
        self.groups = section_map.groups
        self.starts = [0, *accumulate(_sizes(section_map.records))]
        self.frames: list[FrameRow] = [frame for group in section_map.groups for frame in group.frames]
        self.categories = [group.category for group in section_map.groups for _ in group.frames]
        self.frame_offsets = [0, *accumulate(frame.coded_size for frame in self.frames)]
        self._raw_starts = [0, *accumulate(frame.raw_size for frame in self.frames)]

    @cached_property
    def _boundaries(self) -> list[int]:
        """Where pieces begin in all groups' bytes."""
        return sorted(set(self._piece_starts.values()))

    @cached_property
    def _piece_starts(self) -> dict[int, int]:
        """Where each record's piece begins in all groups' bytes, one group after the other."""
        order = sorted((record.bucket, n) for n, record in enumerate(self.records) if record.bucket >= 0)
        starts = {}
        position = 0
        for _, number in order:
            starts[number] = position
            position += self.records[number].data_size
        return starts

    @cached_property
    def _pieces(self) -> tuple[list[int], list[int]]:
        """Where pieces begin in all groups' bytes, ascending, and the record of each."""
        return list(self._piece_starts.values()), list(self._piece_starts)

    def records_in(self, frame: int) -> list[int]:
        """The records that have data of their own in a frame."""
        starts, numbers = self._pieces
        start, end = self._raw_starts[frame : frame + 2]
        return numbers[max(0, bisect_right(starts, start) - 1) : bisect_left(starts, end)]

    def piece(self, number: int, frame: int) -> tuple[int, int]:
        """Where a record's data begins and ends, counted from where a frame does."""
        start = self._piece_starts[number] - self._raw_starts[frame]
        return start, start + self.records[number].data_size

    @cached_property
    def _hashed_runs(self) -> dict[int, list[tuple[int, int, bytes]]]:
        """Of each frame that has a hash, its runs: begin, end, hash. Empty if there are other hashes than runs."""
        size = sectionmap.RUN_HASH_SIZE
        hashes = iter([self._runs[at : at + size] for at in range(0, len(self._runs), size)])
        out = {}
        for frame, row in enumerate(self.frames):
            if row.sha256:
                places = sectionmap.runs(row.raw_size, self.boundaries(frame))
                out[frame] = [(*place, next(hashes, b"")) for place in places]
        return out if next(hashes, None) is None else {}

    def runs(self, frame: int) -> list[tuple[int, int, bytes]]:
        """The runs of a frame: where each begins and ends, and its hash."""
        return self._hashed_runs.get(frame, [])

    @property
    def size(self) -> int:
        """Bytes of the tar stream."""
        return self.starts[-1]

    def place(self, offset: int) -> Place:
        """The record with the byte at ``offset``."""
        number = bisect_right(self.starts, offset) - 1
        return Place(number, offset - self.starts[number])

    def data_start(self, number: int) -> int:
        """Where the data of a record begins."""
        return self.starts[number] + self.records[number].header_size

    def home(self, number: int) -> Record:
        """The record that has this one's data: itself, or the one it repeats."""
        record = self.records[number]
        return self.records[record.duplicate_of] if record.duplicate_of >= 0 else record

    def extents(self, number: int, offset: int, size: int) -> list[Extent]:
        """Which frames have bytes ``offset`` to ``offset + size`` of a record's data."""
        record = self.records[number]
        position = self._piece_starts[record.duplicate_of if record.duplicate_of >= 0 else number] + offset
        end = position + size
        result = []
        frame = bisect_right(self._raw_starts, position) - 1
        while position < end:
            count = min(end, self._raw_starts[frame + 1]) - position
            result.append(Extent(frame, position - self._raw_starts[frame], count))
            position += count
            frame += 1
        return result

    def boundaries(self, frame: int) -> tuple[int, ...]:
        """Where members begin inside a frame."""
        start, end = self._raw_starts[frame : frame + 2]
        first = bisect_right(self._boundaries, start)
        return tuple(cut - start for cut in self._boundaries[first : bisect_left(self._boundaries, end)])


def _sizes(records: Iterable[Record]) -> list[int]:
    """Bytes of the tar stream of each."""
    return [
        (len(headers) if isinstance(headers := record.headers, bytes) else headers[0]) + record.data_size + record.zeros
        for record in records
    ]
