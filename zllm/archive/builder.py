"""One section while it is being read: its records, its data, and how its pieces become groups."""

from __future__ import annotations

from dataclasses import dataclass, field

from zllm.format.sectionmap import Group, Record
from zllm.planner import categories
from zllm.planner.planner import Group as PlannedGroup

SECTION = 32 << 20
"""Bytes of the tar stream that a writer puts into a section. Half of what the format allows: two sections are in memory
at once, and what is made of them, and the whole program is to stay under 300 MB."""

SMALL = 256 << 10
"""Pieces of less than this many bytes share groups; a larger one is a group of its own."""


@dataclass
class Draft:
    """Records of one section with the data they need. ``starts`` says where in ``data`` a record's data begins."""

    stream_offset: int
    records: list[Record] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    members: int = 0
    continued: bool = False
    continues: bool = False
    opaque: bool = False
    seen: dict[tuple[bytes, int], int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Bytes of the tar stream that still fit."""
        return SECTION - self.size

    def begin(self, header: bytes, name: str) -> None:
        """A new record."""
        self.records.append(Record(header))
        self.starts.append(len(self.data))
        self.names.append(name)
        self.size += len(header)
        self.members += bool(header)

    def add_data(self, data: bytes | memoryview) -> None:
        """More data of the last record."""
        self.data += data
        self.records[-1].data_size += len(data)
        self.size += len(data)

    def add_zeros(self, count: int) -> None:
        """Zeros after the data of the last record."""
        if not self.records:
            self.begin(b"", "")
        self.records[-1].zeros += count
        self.size += count

    def end_member(self, sha256: bytes) -> None:
        """The last record's data is complete. If the section has the same already, it is not kept twice."""
        number = len(self.records) - 1
        record = self.records[number]
        record.sha256 = sha256
        if number == 0 and self.continued:
            return
        first = self.seen.setdefault((sha256, record.data_size), number)
        if first != number:
            record.same = first
            del self.data[self.starts[number] :]

    def groups(self) -> tuple[list[Group], list[PlannedGroup]]:
        """Sort the pieces into buckets and groups; sets each record's bucket. Both lists in the same order.

        Takes the data out of the draft: the groups have copies, unless one piece is all there is.
        """
        view = memoryview(self.data)
        self.data = bytearray()
        small: dict[tuple[int, str], list[int]] = {}
        large: list[tuple[int, categories.Category]] = []
        for number, record in enumerate(self.records):
            if not record.data_size or record.same >= 0:
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
        cuts, end = [], 0
        for piece in pieces[:-1]:
            end += len(piece)
            cuts.append(end)
        return PlannedGroup(category, memoryview(b"".join(pieces)), tuple(cuts))
