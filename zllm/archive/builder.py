"""One section while it is being read: its records, its data, and how its pieces become groups."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from zllm.format import headerunits, tarscan
from zllm.format.headerunits import Headers
from zllm.format.sectionmap import Group, Record
from zllm.planner import categories
from zllm.planner.planner import Group as PlannedGroup

SECTION = 32 << 20
"""Bytes of the tar stream that a writer puts into a section. Half of what the format allows: two sections are in memory
at once, and what is made of them, and the whole program is to stay under 300 MB."""

SMALL = 256 << 10
"""Pieces of less than this many bytes share groups; a larger one is a group of its own."""

Stage = Callable[[str, int], AbstractContextManager[object]]
"""Measures what happens inside: a name, and bytes."""


def _no_stage(_: str, __: int) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


class SectionBuilder:
    """Records of one section with the data they need, and the member that is being written.

    ``starts`` says where in ``data`` a record's data begins. ``continued``: the first record's data continues a member
    of the section before; ``continues``: the last record's goes on in the next section. ``sure``: no header is global,
    so that members have the names in their own.
    """

    def __init__(self, stream_offset: int = 0, stage: Stage = _no_stage) -> None:
        self.stream_offset = stream_offset
        self.records: list[Record] = []
        self.starts: list[int] = []
        self.names: list[str] = []
        self.data = bytearray()
        self.size = 0
        self.continued = False
        self.continues = False
        self.opaque = False
        self.sure = True
        self._stage = stage
        self._seen: dict[tuple[bytes, int], int] = {}
        self._sha: hashlib._Hash | None = None  # of the member that is being written
        self._left: int | None = 0  # bytes of data that it still gets; None: all that comes

    @property
    def room(self) -> int:
        """Bytes of the tar stream that still fit."""
        return SECTION - self.size

    @property
    def in_member(self) -> bool:
        """Whether the last record still gets data."""
        return self._sha is not None

    @property
    def members(self) -> list[str]:
        """Names of the members that begin in the section."""
        return [name for name, record in zip(self.names, self.records, strict=True) if record.headers]

    def begin(self, headers: Headers, name: str, size: int | None) -> None:
        """A new record: of a member with ``size`` bytes of data, or, without headers, of bytes that belong to none."""
        self.end_member()
        self._record(headers, name)
        if isinstance(headers, bytes) and tarscan.has_global(headers):
            self.sure = False
        self._left = size
        self._sha = None if size == 0 else hashlib.sha256()

    def add(self, data: memoryview) -> memoryview:
        """More data of the last record; gives back what does not fit: it continues in the next section."""
        sha = self._sha
        while sha is not None and len(data) and self.room:
            part = data[: self.room if self._left is None else min(self.room, self._left)]
            data = data[len(part) :]
            self.data += part
            self.records[-1].data_size += len(part)
            self.size += len(part)
            with self._stage("hashing", len(part)):
                sha.update(part)
            if self._left is not None:
                self._left -= len(part)
                if not self._left:
                    self.end_member()
                    break
        return data

    def add_zeros(self, count: int) -> None:
        """Zeros after the data of the last record, which is complete then."""
        self.end_member()
        if not self.records:
            self._record(b"", "")
        self.records[-1].zeros += count
        self.size += count

    def end_member(self) -> None:
        """The last record's data is complete. If the section has the same already, it is not kept twice."""
        sha, self._sha = self._sha, None
        if sha is None or not self.records or not self.records[-1].data_size:
            return
        number = len(self.records) - 1
        record = self.records[number]
        record.sha256 = sha.digest()
        if number == 0 and self.continued:
            return
        first = self._seen.setdefault((record.sha256, record.data_size), number)
        if first != number:
            record.duplicate_of = first
            del self.data[self.starts[number] :]

    def following(self) -> SectionBuilder:
        """The builder of the next section, which takes over the member that is not complete yet, if there is one."""
        after = SectionBuilder(self.stream_offset + self.size, self._stage)
        if self._sha is not None:
            self.continues = after.continued = True
            after._record(b"", self.names[-1])
            after._sha, after._left = self._sha, self._left
        return after

    def _record(self, headers: Headers, name: str) -> None:
        self.records.append(Record(headers))
        self.starts.append(len(self.data))
        self.names.append(name)
        self.size += headerunits.header_size(headers) if headers else 0

    def groups(self) -> tuple[list[Group], list[PlannedGroup]]:
        """Sort the pieces into buckets and groups; sets each record's bucket. Both lists in the same order.

        Takes the data out of the builder: the groups have copies, unless one piece is all there is.
        """
        view = memoryview(self.data)
        self.data = bytearray()
        small: dict[tuple[int, str], list[int]] = {}
        large: list[tuple[int, categories.Category]] = []
        for number, record in enumerate(self.records):
            if not record.data_size or record.duplicate_of >= 0:
                continue
            piece = view[self.starts[number] : self.starts[number] + record.data_size]
            category = categories.categorize(self.names[number], piece)
            if record.data_size < SMALL:
                key = int(category), categories.bucket_key(self.names[number], category)
                small.setdefault(key, []).append(number)
            else:
                large.append((number, category))
        rows: list[Group] = []
        work: list[PlannedGroup] = []
        bucket = 0
        for category_number in sorted({category for category, _ in small}):
            keys = sorted(key for key in small if key[0] == category_number)
            order: list[int] = []
            for key in keys:
                for number in small[key]:
                    self.records[number].bucket = bucket
                order += small[key]
                bucket += 1
            rows.append(Group(category_number, len(keys)))
            work.append(self._joined(categories.Category(category_number), order, view))
        for number, category in large:
            self.records[number].bucket = bucket
            bucket += 1
            rows.append(Group(int(category), 1))
            work.append(self._joined(category, [number], view))
        return rows, work

    def _joined(self, category: categories.Category, order: list[int], view: memoryview) -> PlannedGroup:
        pieces = [view[self.starts[n] : self.starts[n] + self.records[n].data_size] for n in order]
        if len(pieces[0]) == len(view):
            return PlannedGroup(category, view)
        boundaries, end = [], 0
        for piece in pieces[:-1]:
            end += len(piece)
            boundaries.append(end)
        return PlannedGroup(category, memoryview(b"".join(pieces)), tuple(boundaries))
