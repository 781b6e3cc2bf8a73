"""The tar stream of an archive as a file: headers from the maps, data decoded when it is read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from zllm.archive.coding import Decoders
from zllm.archive.embedded import in_file, match
from zllm.archive.layout import Layout, Row, read_model, walked
from zllm.archive.sections import FrameCache, Origin, Section
from zllm.errors import BrokenTarError, DamagedError, MissingCodecError, ZllmError, renewed, worse
from zllm.format import envelope, repair, sectionmap
from zllm.format.frames import FrameRow
from zllm.format.parts import CORRECTED, UNUSED
from zllm.format.repair import Budget
from zllm.format.section import OPAQUE
from zllm.format.tarscan import member_name
from zllm.stats import EMBEDDED, HEADERS, Stats

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAPS_KEPT = 2
_TOLD = 20
ENDS_INSIDE = "unexpected end of data: the tar stream ends inside this member"


class _Hasher:
    """Hashes a member while it is read from front to end, and compares at its end."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._next = -1
        self._first = -1
        self.verified = -1
        """Where the data of the member began that was last read whole, with the right hash."""

    def take(self, section: Section, number: int, offset: int, data: bytes) -> None:
        """``data`` was read from a record's data.

        Raises:
            DamagedError: the member is whole now and its SHA-256 is another one.
        """
        chart = section.chart
        position = section.header.stream_offset + chart.data_start(number) + offset
        continued = number == 0 and section.header.continued
        if offset == 0 and not continued:
            self._sha, self._first = hashlib.sha256(), position
        elif position != self._next:
            self._next = -1
            return
        self._next = position + len(data)
        record = chart.records[number]
        more = section.header.continues and number == len(chart.records) - 1
        if record.sha256 or more:  # what small members have in common is proved with their frames
            self._sha.update(data)
        if offset + len(data) == record.data_size and not more:
            if record.sha256 and self._sha.digest() != record.sha256:
                raise DamagedError("its SHA-256 is not the one stored in the archive")
            self.verified = self._first


class TarView(io.RawIOBase):
    """What both readers share. Positions are bytes of the tar stream.

    Reading raises DamagedError, MissingCodecError or MissingModelError if a frame cannot be decoded, and DamagedError
    if a member that was read from front to end does not have its SHA-256.
    """

    def __init__(self, decoders: Decoders) -> None:
        super().__init__()
        self.decoders = decoders
        self.cache = FrameCache()
        self.everything = False
        """Everything will be read: frames of a section are decoded together at once."""
        self.expected: int | None = None
        """Where data begins that will be read to its member's end: its first frames are decoded together."""
        self.strict = False
        """A read that asks for more than the archive's tar stream has is an error: its member is cut off."""
        self.checked: Callable[[Section | ZllmError], None] | None = None
        """Told of each section of a pipe, and why one cannot be read, as they come."""
        self.budget = Budget()
        self.problem: ZllmError | None = None
        """What is wrong with the archive as a whole, found so far."""
        self.broken: list[BrokenTarError] = []
        """Where the tar stream was broken before it was packed."""
        self.warnings: list[str] = []
        self.manifest: dict[str, Any] = {}
        """Empty where the index is lost or has not been read."""
        self.opaque = False
        """The stream is not a tar."""
        self.lock = threading.RLock()
        """Held by whoever seeks and then reads, so that several threads can read members of one archive."""
        self._hasher = _Hasher()
        self._position = 0
        self._limit: int | None = None
        self.own: BinaryIO | None = None
        """A file that is closed with the view."""

    def close(self) -> None:
        """Nothing is read any more."""
        super().close()
        if self.own is not None:
            self.own.close()

    @abstractmethod
    def section_at(self, position: int) -> Section | None:
        """The section with that byte; None after the end.

        Raises:
            DamagedError: it cannot be read, or is lost.
        """

    @abstractmethod
    def sections(self) -> Iterator[Section | DamagedError]:
        """All sections, or why one cannot be read; of a pipe, those that are left."""

    def here(self) -> Iterator[Section | DamagedError]:
        """Of a pipe, the section that has been read already, or why it cannot be read."""
        return iter(())

    @abstractmethod
    def next_start(self, position: int) -> int | None:
        """Where the first section begins that begins after ``position``; None: there is none."""

    @abstractmethod
    def next_base(self, base: int, position: int) -> int | None:
        """Where the stream of the archive begins that follows the one whose stream begins at ``base``.

        None if that is behind ``position``, or if there is no other.
        """

    @property
    @abstractmethod
    def end(self) -> int:
        """The stream's end; of a pipe, as far as it has been read."""

    @property
    def problems(self) -> list[ZllmError]:
        """All that is wrong with the archive or its tar stream, the worst first."""
        return [*([self.problem] if self.problem is not None else []), *self.broken]

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged. What is told: :func:`zllm.errors.worse`."""
        self.problem = worse(self.problem, problem)

    def note_broken(self, text: str, member: str | None = None) -> None:
        """The tar stream is broken, or one of its members is."""
        if len(self.broken) == _TOLD:
            text, member = "and so on: the tar stream is broken in more places", None
        if len(self.broken) <= _TOLD:
            self.broken.append(BrokenTarError(f"{member}: {text}" if member else text, member=member))

    def warn(self, text: str) -> None:
        """Something was passed over, without harm; told once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def drain(self) -> None:
        """Read on to the archive's end: what is wrong there is wrong with the archive."""

    @property
    def verified(self) -> int:
        """Where the data of the last member begins that was read whole and proved right."""
        return self._hasher.verified

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``; less only at the end."""
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, all that is left if it is negative. Fewer at the end, and before what cannot be read.

        Raises:
            BrokenTarError: the view is strict, and the tar stream ends before.
            DamagedError: all that is left was wanted, and something of the archive is damaged.
        """
        pieces: list[bytes] = []
        left = -1 if size is None or size < 0 else size
        self._limit = None
        while left:
            try:
                piece = self._piece(left if left > 0 else 1 << 20)
            except ZllmError:
                if not pieces or self.strict or left < 0:
                    raise
                break  # the next read says it
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        if left < 0 and self.problem is not None:  # nobody comes back to be told
            raise renewed(self.problem)
        if left > 0 and self.strict:
            raise DamagedError("the archive ends inside this member") if self.problem else BrokenTarError(ENDS_INSIDE)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        """Some bytes at the position, at least one before the end."""
        section = self.section_at(self._position)
        if section is None:
            return b""
        if self._limit is None:
            self._limit = section.base
        elif self.strict and self._limit != section.base:  # another archive's stream
            return b""
        if self.everything:
            section.load_all()
        place = section.chart.place(self._position - section.header.stream_offset)
        record = section.chart.records[place.record]
        offset = place.offset
        if offset < len(record.header):
            piece = record.header[offset : offset + size]
        elif offset < len(record.header) + record.data_size:
            offset -= len(record.header)
            if self._position == self.expected:
                section.expect(place.record)
            piece = self._data(section, place.record, offset, min(size, record.data_size - offset))
        else:
            piece = bytes(min(size, record.size - offset))
        self._position += len(piece)
        return piece

    def _data(self, section: Section, number: int, offset: int, size: int) -> bytes:
        try:
            data = section.read(number, offset, size)
            with self.decoders.run.stage("hashing", len(data)):
                self._hasher.take(section, number, offset, data)
        except ZllmError as exc:
            raise _named(exc, member_name(section.chart.records[number].header)) from exc
        return data


def _named(exc: ZllmError, member: str) -> ZllmError:
    """The same error for a member: what is wrong with a frame is wrong with every member in it."""
    if isinstance(exc, DamagedError):
        return type(exc)(f"{member}: {exc}" if member else str(exc), member=member or None)
    if isinstance(exc, MissingCodecError):
        return MissingCodecError(exc.codec_id, member=member or None)
    return renewed(exc)


class FileView(TarView):
    """Of a seekable file, by its layout."""

    def __init__(self, file: BinaryIO, layout: Layout, decoders: Decoders) -> None:
        super().__init__(decoders)
        self.budget = layout.budget
        self.problem = layout.problem
        self.warnings = layout.warnings
        self.manifest = layout.manifest
        decoders.warn = self.warnings.append
        for sha256, places in layout.models.items():
            for place in reversed(places):
                decoders.embedded[sha256] = in_file(file, place, decoders.embedded.get(sha256))
        match(decoders.embedded, (model for row in layout.rows for model in row.header.models))
        self._file = file
        self._start = layout.start
        self._use(layout)
        if layout.rows:
            self.opaque = bool(layout.rows[0].header.flags & OPAQUE)
        else:
            self.opaque = self.problem is None
        # Sections by where they begin in the stream.
        self._open: OrderedDict[int, Section] = OrderedDict()
        self._lost: dict[int, DamagedError] = {}
        self._corrected: dict[int, bytes] = {}
        self._seen: set[int] = set()

    def _use(self, layout: Layout) -> None:
        self.layout = layout
        self._starts = [row.header.stream_offset for row in layout.rows]
        self._bases = sorted({row.base for row in layout.rows})
        self.size = layout.rows[-1].header.stream_end if layout.rows else 0

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files have it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(22, "negative seek position")
        self._position = base + offset
        return self._position

    def section_at(self, position: int) -> Section | None:
        """See :meth:`TarView.section_at`."""
        if position >= self.size:
            return None
        row = self._row(position)
        if row is None:
            raise DamagedError("a section of the archive is lost")
        return self._section(row)

    def _row(self, position: int) -> Row | None:
        """The row of the section with that byte."""
        number = bisect_right(self._starts, position) - 1
        row = self.layout.rows[number] if number >= 0 else None
        return None if row is None or position >= row.header.stream_end else row

    def section(self, number: int) -> Section:
        """Section by number.

        Raises:
            DamagedError: its map is damaged.
        """
        return self._section(self.layout.rows[number])

    def _section(self, row: Row) -> Section:
        start = row.header.stream_offset
        if start in self._lost:
            raise cast(DamagedError, renewed(self._lost[start]))
        found = self._open.get(start)
        if found is None:
            try:
                found = self._load(row)
            except DamagedError as exc:
                found = self._elsewhere(row, exc)
            self._open[start] = found
            while len(self._open) > _MAPS_KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(start)
        return found

    def _elsewhere(self, row: Row, problem: DamagedError) -> Section:
        """The section, if it is not where the directory says."""
        start = row.header.stream_offset
        self.note(problem)
        if not self.layout.walked:
            self._use(walked(self._file, self._start))
            other = self._row(start)
            if other is not None and other.header.stream_offset == start and other.offset != row.offset:
                with contextlib.suppress(DamagedError):
                    return self._load(other)
        self._lost[start] = problem
        raise cast(DamagedError, renewed(problem)) from None

    def sections(self) -> Iterator[Section | DamagedError]:
        """See :meth:`TarView.sections`."""
        start: int | None = self._starts[0] if self._starts else None
        while start is not None:
            try:
                row = self._row(start)
                if row is not None:
                    yield self._section(row)
            except DamagedError as exc:
                yield exc
            start = self.next_start(start)

    def _load(self, row: Row) -> Section:
        start = row.header.stream_offset
        self._seen.add(start)

        def fetch(frame: FrameRow, offset: int) -> memoryview:
            place = row.frames_at + offset if row.frames is None else row.frames.get(frame.sequence, -1)
            if place < 0:
                return memoryview(b"")
            self._file.seek(place)
            return memoryview(self._file.read(frame.coded_size))

        found_map = row.map or sectionmap.decode(self._map(row), row.header, row.envelope.sequence + 1)
        origin = Origin(row.seed, row.base, self.note)
        section = Section(start, row.header, found_map, origin, fetch, self.decoders, self.cache)
        found = len(section.chart.frames), section.chart.frame_offsets[-1]
        if row.frames is None and found != (row.frame_count, row.frames_size):
            raise DamagedError("a section map is damaged: it has other frames than the section")
        return section

    def _map(self, row: Row) -> bytes:
        """The bytes of a section's map: what stands before it is known."""
        blob = self._corrected.get(row.offset)
        if blob is not None:
            return blob
        self._file.seek(row.offset)
        part = self._file.read(row.envelope.whole)
        front = row.front
        if len(part) < row.envelope.whole:
            raise DamagedError("the archive ends inside a section map")
        rest = part[len(front) :]
        if not envelope.holds(row.seed, front + rest):
            fixed = repair.body(front, rest, row.seed, self.budget)
            if fixed is None:
                raise DamagedError("a section map is damaged: its checksum does not hold")
            rest = fixed
            self._corrected[row.offset] = rest[: -envelope.CHECK_SIZE]
            self.note(DamagedError(f"a section map is damaged: {CORRECTED}"))
        if part[: len(front)] != front:
            self.note(DamagedError("a section header is damaged: the directory has it, too, nothing is lost"))
        return rest[: -envelope.CHECK_SIZE]

    def tally(self, stats: Stats) -> None:
        """Add up what is stored by each codec. Damaged sections are left out, their bytes are not."""
        from zllm.codecs import registry

        rest = self._file.seek(0, io.SEEK_END) - self._start
        for size in self.model_sizes():
            stats.stored(EMBEDDED, 0, size)
            rest -= size
        for section in self.sections():
            for frame in section.chart.frames if isinstance(section, Section) else ():
                stats.stored(registry.name_of(frame.codec), frame.raw_size, frame.coded_size)
                rest -= frame.coded_size
        stats.stored(HEADERS, 0, rest)

    def model_sizes(self) -> Iterator[int]:
        """Bytes of each embedded model in the file; damaged ones are left out."""
        for place in (place for places in self.layout.models.values() for place in places):
            with contextlib.suppress(ZllmError):
                read_model(self._file, place)
                yield place.envelope.whole

    def unused(self) -> Iterator[DamagedError]:
        """What is wrong with parts that this program does not use."""
        for place in self.layout.others:
            front = place.envelope.pack(place.seed)
            self._file.seek(place.offset)
            part = self._file.read(place.envelope.whole)
            if len(part) < place.envelope.whole or not envelope.holds(place.seed, front + part[len(front) :]):
                yield DamagedError(UNUSED)

    def drain(self) -> None:
        """See :meth:`TarView.drain`: sections in the middle of a member have maps, too."""
        for row in list(self.layout.rows):
            if row.header.stream_offset not in self._seen:
                with contextlib.suppress(DamagedError):
                    self._section(row)

    @property
    def end(self) -> int:
        """See :attr:`TarView.end`."""
        return self.size

    def next_start(self, position: int) -> int | None:
        """See :meth:`TarView.next_start`."""
        number = bisect_right(self._starts, position)
        return self._starts[number] if number < len(self._starts) else None

    def next_base(self, base: int, position: int) -> int | None:
        """See :meth:`TarView.next_base`."""
        number = bisect_right(self._bases, base)
        return self._bases[number] if number < len(self._bases) and self._bases[number] <= position else None
