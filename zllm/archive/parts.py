"""The parts of one archive after another, from a file or a pipe: the one place that knows what may follow what.

Archives one behind the other are read as one: their tar streams follow each other. Zeros between and behind them are
padding. Where something is damaged, the search goes on for the next part whose checksum holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from zllm.archive import repair
from zllm.errors import DamagedError, NotZllmError, TruncatedError, UnsupportedVersionError, ZllmError, worse
from zllm.format import ends, index, limits, modelblock, section

STEP = 1 << 16
TRUNCATED = "the archive is truncated: it ends before its footer. Whole members can be extracted, the rest is lost"
_BETWEEN = "the archive is damaged: there are unknown bytes between its parts"
_INNER = (section.MAGIC, modelblock.MAGIC, index.MAGIC)
_FIRST = re.compile(b"|".join(re.escape(magic) for magic in (*_INNER, ends.FOOTER_MAGIC)))
_FIRST_BEHIND = re.compile(b"|".join(re.escape(magic) for magic in (*_INNER, ends.FILE_MAGIC)))
_CHEAP = 1 << 20
# What is tried in a search costs more than its bytes, and is taken from the budget as so many more of them.
_PER_INDEX_BYTE, _PER_TEXT_BYTE = 1 << 10, 1 << 12
_MAGIC_AT_LEAST = 4  # bytes of a file header: fewer may be anything
_FRONT = ends.FILE_HEADER_SIZE + len(section.MAGIC)


class Source(Protocol):
    """Bytes that are read from front to end."""

    position: int
    """Of the next byte, counted from where the first archive begins."""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end; they stay."""

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end."""

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes, fewer at the end; how many they were."""


@dataclass(frozen=True)
class SectionPart:
    """A section, whose header was taken; whoever gets it takes or skips ``header.body_size`` bytes.

    ``header`` is as it stands in the archive; its stream begins at ``base`` of all archives' stream. ``offset`` is
    where the header begins in the source.
    """

    offset: int
    header_size: int
    base: int
    header: section.SectionHeader
    sure: bool = True
    """It is where a part was due; or else it was found by searching."""

    @property
    def placed(self) -> section.SectionHeader:
        """The header with its place in all archives' stream."""
        return replace(self.header, stream_offset=self.base + self.header.stream_offset) if self.base else self.header


@dataclass(frozen=True)
class ModelPart:
    """A model block. Whoever gets it takes or skips ``modelblock.HEADER_SIZE + block.coded_size`` bytes."""

    offset: int
    block: modelblock.ModelBlock


@dataclass(frozen=True)
class IndexPart:
    """An index whose checksum holds. Its archive begins at ``start`` of the source and ``base`` of the stream.

    ``exact``: it names the sections that were found, and no other.
    """

    start: int
    base: int
    index: index.Index
    exact: bool


Part = SectionPart | ModelPart | IndexPart


class Walk:
    """Goes from part to part. What is wrong is in ``problem`` and ``warnings`` when :meth:`parts` has ended.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and no archive can be made out behind it.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """

    def __init__(self, source: Source, budget: repair.Budget) -> None:
        self.problem: ZllmError | None = None
        self.warnings: list[str] = []
        self.manifest: dict[str, Any] = {}
        self.end = 0
        """Of all archives' stream, as far as it is known."""
        self._source = source
        self._budget = budget
        self._tries = repair.Budget()  # for searches: what corrections cost leaves them as they are
        self._rows: dict[int, tuple[int, SectionPart]] = {}  # of this archive, by place in it: which one it is
        self._start = self._base = self._next = 0
        self._whole = False  # the archive that came last has its footer
        self._searched = False  # what comes next was found by searching
        front = source.peek(_FRONT)
        try:
            ends.check_file_header(front[: ends.FILE_HEADER_SIZE])
        except (DamagedError, NotZllmError) as exc:
            if front[ends.FILE_HEADER_SIZE :] not in _INNER:
                raise
            self.note(DamagedError(f"{exc}: what follows is an archive all the same"))
        self._source.skip(ends.FILE_HEADER_SIZE)

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged. What is told: :func:`zllm.errors.worse`."""
        self.problem = worse(self.problem, problem)

    def parts(self) -> Iterator[Part]:
        """All that can be found, in order."""
        while self._source.peek(1):
            try:
                part = self._between() if self._whole else self._inside()
            except (DamagedError, NotZllmError, UnsupportedVersionError) as exc:
                self.note(exc)
                self._search()
                continue
            if part is not None:
                yield part
        if not self._whole:
            self.problem = TruncatedError(TRUNCATED)

    def _inside(self) -> Part | None:
        """What is next before an archive's footer."""
        front = self._source.peek(index.FRONT_SIZE)
        if (magic := front[:4]) == index.MAGIC:
            return self._index(front)
        if magic == modelblock.MAGIC:
            return self._model()
        if magic != section.MAGIC and front == ends.FILE_MAGIC + front[8:] and self._begins():
            self.note(TruncatedError(TRUNCATED))
            self._begin()
            return None
        return self._section()

    def _between(self) -> Part | None:
        """What is next behind an archive's footer."""
        front = self._source.peek(STEP)
        rest = front.lstrip(b"\0")
        if len(rest) < len(front):
            self._source.skip(len(front) - len(rest))
            return None
        front = self._source.peek(max(_FRONT, limits.MAX_SECTION_HEADER))
        if front[:4] == section.MAGIC:  # sections behind a footer go on with the same archive
            return self._section()
        if front[:4] == modelblock.MAGIC:
            return self._model()
        if self._begins():
            self._begin()
            return None
        magic = ends.FILE_MAGIC[: len(front)]
        if _MAGIC_AT_LEAST <= len(front) < ends.FILE_HEADER_SIZE and front[: len(magic)] == magic:
            self._source.skip(len(front))
            self._whole = False  # an archive begins, and that is all there is of it
            return None
        self._garbage()
        return None

    def _begins(self) -> bool:
        """Whether an archive begins here, its header whole or not."""
        return _is_begin(self._source.peek(_FRONT))

    def _begin(self) -> None:
        try:
            ends.check_file_header(self._source.peek(ends.FILE_HEADER_SIZE))
        except (DamagedError, NotZllmError) as exc:
            self.note(DamagedError(f"{exc}: what follows is an archive all the same"))
        self._start = self._source.position
        self._source.skip(ends.FILE_HEADER_SIZE)
        self._base, self._rows, self._next, self._whole = self.end, {}, 0, False

    def _garbage(self) -> None:
        """Bytes behind an archive that belong to none: ignored, unless an archive follows."""
        start = self._source.position
        while data := self._source.peek(STEP):
            last = len(data) < STEP
            for hit in _FIRST_BEHIND.finditer(data):
                if not last and hit.start() + limits.MAX_SECTION_HEADER > len(data):
                    self._source.skip(hit.start())
                    break
                if self._goes_on(data, hit.start()):
                    self._source.skip(hit.start())
                    self.note(DamagedError(_BETWEEN))
                    return
            else:
                self._source.skip(len(data) if last else len(data) - len(ends.FILE_MAGIC) + 1)
        count = self._source.position - start
        self.warnings.append(f"{count} bytes after the end of the archive are not part of it: ignored")

    def _goes_on(self, data: bytes, place: int) -> bool:
        """Whether an archive begins at a hit, its header whole or not, or a section that can follow."""
        front = data[place : place + limits.MAX_SECTION_HEADER]
        if not self._tries.spend(1, len(front)):
            return False
        if front[:4] == section.MAGIC:
            return self._follows(front)
        return front[: len(ends.FILE_MAGIC)] == ends.FILE_MAGIC and _is_begin(front)

    def _follows(self, front: bytes) -> bool:
        """Whether this is a section that can follow those that are known."""
        try:
            header, _ = self._header(front)
        except ZllmError:
            return False
        return header.number >= self._next and self._base + header.stream_offset >= self.end

    # Parts

    def _section(self) -> SectionPart | None:
        offset = self._source.position
        front = self._source.peek(limits.MAX_SECTION_HEADER)
        try:
            header, size = self._header(front)
        except DamagedError as exc:
            header, size = self._repaired(front, exc)
        self._whole, sure, self._searched = False, not self._searched, False
        part = SectionPart(offset, size, self._base, header, sure)
        if self._base + header.stream_offset < self.end:
            self._source.skip(size + header.body_size)
            self.note(DamagedError("the archive is damaged: its sections are out of order"))
            return None
        if self._base + header.stream_offset > self.end or header.number > self._next:
            self.note(DamagedError("the archive is damaged: a section is missing"))
        elif header.number < self._next:
            self.note(DamagedError("the archive is damaged: its sections are out of order"))
        self._source.skip(size)
        self._rows[offset - self._start] = len(self._rows), part
        self._next = header.number + 1
        self.end = part.placed.stream_offset + header.stream_size
        return part

    def _header(self, front: bytes) -> tuple[section.SectionHeader, int]:
        if front[:4] != section.MAGIC:
            raise DamagedError("the archive is damaged: there is no section where one should be")
        size = section.size_of(front[: section.FRONT_SIZE])
        return section.unpack(front[:size]), size

    def _repaired(self, front: bytes, problem: DamagedError) -> tuple[section.SectionHeader, int]:
        fixed = repair.sealed(front, _size_of, self._budget)
        if fixed is None:
            raise problem
        header = section.unpack(fixed[0])
        if header.number != self._next or self._base + header.stream_offset != self.end:
            raise problem
        self.note(DamagedError("a section header is damaged: one byte was wrong and is corrected, nothing is lost"))
        return header, fixed[1]

    def _model(self) -> ModelPart:
        offset = self._source.position
        block = modelblock.unpack_header(self._source.peek(modelblock.HEADER_SIZE))
        self._whole = self._searched = False
        return ModelPart(offset, block)

    def _index(self, front: bytes) -> IndexPart | None:
        """An index with its footer: the end of an archive."""
        size = index.size_of(front)
        if size > _CHEAP and not self._budget.spend(1, size):
            raise DamagedError("the index is damaged: its checksum does not hold")
        data = self._source.peek(size + ends.FOOTER_SIZE)
        block, footer = data[:size], data[size:]
        try:
            ends.check_footer(footer, block)
            found = index.unpack(block)
        except DamagedError as exc:
            self._damaged_end(block, footer, exc)
            return None
        self._source.skip(len(data))
        self._keep(found.manifest)
        exact = self._compare(found)
        self._whole, self._searched = True, False
        return IndexPart(self._start, self._base, found, exact)

    def _damaged_end(self, block: bytes, footer: bytes, problem: DamagedError) -> None:
        """Index or footer are damaged: whether they are there all the same."""
        if len(footer) < ends.FOOTER_SIZE and not _has_footer(block + footer):
            self._source.skip(len(block) + len(footer))  # the archive was cut off here
            return
        try:
            self._keep(index.unpack(block).manifest)
        except ZllmError:  # in a damaged index even the version may be another
            raise problem from None
        self.note(DamagedError(f"{problem}: the sections were found without it, nothing is lost"))
        self._source.skip(len(block) + ends.FOOTER_SIZE)
        self._whole = True

    def _keep(self, manifest: dict[str, Any]) -> None:
        self.manifest = {**manifest, **self.manifest}

    def _compare(self, found: index.Index) -> bool:
        """Whether the index names the sections that are there, and no other, as it must."""
        wrong = len(self._rows) != len(found.entries)
        last = next(reversed(self._rows), -1)
        for number, entry in enumerate(found.entries):
            place, row = self._rows.get(entry.offset, (-1, None))
            wrong = wrong or place != number
            if entry.header is None:
                continue
            wrong = wrong or row is None or (row.header, row.header_size) != (entry.header, entry.header_size)
            end = self._base + entry.header.stream_offset + entry.header.stream_size
            if row is None and 0 < end - self.end <= limits.WINDOW and last <= entry.offset:
                self.end = end
        if wrong:
            self.note(DamagedError("the archive is damaged: its index names other sections than there are"))
        return not wrong

    def _search(self) -> None:
        """Go on to the next place that looks like the start of a part, or behind a footer."""
        start = self._source.position
        self._source.skip(1)
        self._searched = True
        while data := self._source.peek(STEP):
            for hit in _FIRST.finditer(data):
                place = hit.start()
                if place + limits.MAX_SECTION_HEADER > len(data) == STEP:
                    self._source.skip(place)
                    break
                if hit[0] == ends.FOOTER_MAGIC:
                    if _is_footer(data[place : place + ends.FOOTER_SIZE], self._source.position - start + place):
                        self._source.skip(place + ends.FOOTER_SIZE)  # its index begins where the search began
                        self._whole, self._searched = True, False
                        return
                elif self._fits(data[place : place + limits.MAX_SECTION_HEADER], place):
                    self._source.skip(place)
                    return
            else:
                self._source.skip(max(1, len(data) - ends.FOOTER_SIZE))

    def _fits(self, data: bytes, place: int) -> bool:
        """Whether what seems to start here is a part of this archive: there may be another one inside a section."""
        if not self._tries.spend(1, len(data)):
            return False
        if data[:4] == section.MAGIC:
            return self._follows(data)
        try:
            if data[:4] == index.MAGIC:
                return self._names(data, place)
            modelblock.unpack_header(data[: modelblock.HEADER_SIZE])
            return True
        except (UnsupportedVersionError, DamagedError):
            return False

    def _names(self, data: bytes, place: int) -> bool:
        """Whether an index, which begins ``place`` bytes from here, names the sections that are known."""
        size = index.size_of(data[: index.FRONT_SIZE])
        if not self._tries.spend(_PER_INDEX_BYTE, size):
            return False
        block = self._source.peek(place + size)[place:]
        if not self._tries.spend(_PER_TEXT_BYTE, index.text_size(block)):
            return False
        entries = {entry.offset for entry in index.unpack(block).entries}
        return all(offset in entries for offset in self._rows)


def _size_of(front: bytes) -> int:
    if front[:4] != section.MAGIC:
        raise ValueError("no section")
    try:
        return section.size_of(front[: section.FRONT_SIZE])
    except DamagedError:
        raise ValueError("no section") from None


def _is_begin(front: bytes) -> bool:
    """Whether an archive begins with these bytes, its header whole or not."""
    if front[: len(ends.FILE_MAGIC)] == ends.FILE_MAGIC:
        try:
            ends.check_file_header(front[: ends.FILE_HEADER_SIZE])
            return True
        except DamagedError:
            pass
    return front[ends.FILE_HEADER_SIZE : _FRONT] in _INNER and front[:4] not in _INNER


def _is_footer(footer: bytes, distance: int) -> bool:
    """Whether this is the footer of an index that begins ``distance`` bytes before it."""
    return len(footer) == ends.FOOTER_SIZE and int.from_bytes(footer[4:8], "little") == distance


def _has_footer(data: bytes) -> bool:
    """Whether there is a footer of an index that begins where ``data`` begins."""
    hits = re.finditer(re.escape(ends.FOOTER_MAGIC), data)
    return any(_is_footer(data[hit.start() : hit.start() + ends.FOOTER_SIZE], hit.start()) for hit in hits)
