"""The tar stream of an archive in a seekable file."""

from __future__ import annotations

import contextlib
import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO, cast

from zllm.archive.coding import Decoders
from zllm.archive.embedded import in_file, match
from zllm.archive.layout import Layout, walked
from zllm.archive.mending import LESS
from zllm.archive.places import Place, Row, read_model
from zllm.archive.sections import Origin, Section
from zllm.archive.view import TarView
from zllm.errors import DamagedError, ZllmError, renewed
from zllm.format import envelope, repair, sealing, sectionmap
from zllm.format.envelope import Kind
from zllm.format.frames import FrameRow
from zllm.format.parts import CORRECTED, KEYS_DAMAGED, OTHER_SECTIONS, UNUSED
from zllm.format.section import OPAQUE
from zllm.stats import EMBEDDED, HEADERS, Stats

_MAPS_KEPT = 2


class FileView(TarView):
    """Of a seekable file, by its layout."""

    def __init__(self, file: BinaryIO, layout: Layout, decoders: Decoders, generation: int | None = None) -> None:
        super().__init__(decoders)
        self._generation = generation
        self.budget = layout.budget
        self.problem = layout.problem
        self.warnings = layout.warnings
        self.manifest = layout.manifest
        decoders.warn = self.warnings.append
        self._mender = layout.mender
        if self._mender is not None:
            file = self._mender.file
        for sha256, places in layout.models.items():
            for place in reversed(places):
                other = decoders.embedded.get(sha256)
                decoders.embedded[sha256] = in_file(
                    file, place, other, layout.limits, mend=self._mend, opener=layout.opener
                )
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
        self.generations = layout.generations
        self._deletions = layout.deletions

    def hides(self, name: str, position: int) -> bool:
        """See :meth:`TarView.hides`."""
        return bool(self._deletions) and self._deletions.hide(name, position)

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
            again = walked(self._file, self._start, self.layout.limits, self._generation, self.layout.opener)
            self._use(again)
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

        def fetch_mended(frame: FrameRow, offset: int) -> memoryview:
            self._mend(row.frames_at + offset if row.frames is None else row.frames.get(frame.sequence, -1))
            return fetch(frame, offset)

        found_map = row.map or sectionmap.decode(
            self.map_bytes(row), row.header, row.envelope.sequence + 1, self.layout.limits,
            sealed=sealing.is_sealed(row.envelope),
        )  # fmt: skip
        mend = fetch_mended if self._mender is not None else None
        origin = Origin(row.seed, row.base, self.note, self.budget, mend, self.layout.opener)
        section = Section(start, row.header, found_map, origin, fetch, self.decoders, self.cache, self.layout.limits)
        found = len(section.layout.frames), section.layout.frame_offsets[-1]
        if row.frames is None and found != (row.frame_count, row.frames_size):
            raise DamagedError("a section map is damaged: it has other frames than the section")
        if found_map.members() != row.members:
            self.note(DamagedError(OTHER_SECTIONS))
        return section

    def _mend(self, place: int) -> bool:
        """Use the parity that covers this byte of the file; whether anything was mended."""
        return self._mender is not None and self._mender.mend(place)

    def map_bytes(self, row: Row) -> bytes:
        """The bytes of a section's map: what stands before it is known.

        Raises:
            DamagedError: they are damaged.
        """
        blob = row.corrected or self._corrected.get(row.offset)
        if blob:
            return blob
        if sealing.is_sealed(row.envelope):
            return self._sealed_map(row)
        self._file.seek(row.offset)
        part = self._file.read(row.envelope.whole)
        front = row.front
        if len(part) < row.envelope.whole:
            raise DamagedError("the archive ends inside a section map")
        rest = part[len(front) :]
        if not envelope.holds(row.seed, front + rest) and self._mend(row.offset):
            self._file.seek(row.offset)
            part = self._file.read(row.envelope.whole)
            rest = part[len(front) :]
        if not envelope.holds(row.seed, front + rest):
            fixed = repair.body(front, rest, row.seed, self.budget)
            if fixed is None:
                raise DamagedError("a section map is damaged: its checksum does not match")
            rest = fixed
            self._corrected[row.offset] = rest[: -envelope.CHECK_SIZE]
            self.note(DamagedError(f"a section map is damaged: {CORRECTED}"))
        if part[: len(front)] != front:
            self.note(DamagedError("a section header is damaged: the directory has it, too, nothing is lost"))
        return rest[: -envelope.CHECK_SIZE]

    def _sealed_map(self, row: Row) -> bytes:
        """As :meth:`map_bytes`, of an encrypted section."""
        front = row.envelope.pack(row.seed)

        def read() -> bytes:
            self._file.seek(row.offset)
            return self._file.read(row.envelope.whole)

        part = read()
        if not envelope.holds(row.seed, front + part[len(front) :]) and self._mend(row.offset):
            part = read()
        if len(part) < row.envelope.whole:
            raise DamagedError("the archive ends inside a section map")
        rest = part[len(front) :]
        corrected = not envelope.holds(row.seed, front + rest)
        if corrected:
            rest = repair.body(front, rest, row.seed, self.budget) or b""
            if not rest:
                raise DamagedError("a section map is damaged: its checksum does not match")
            self.note(DamagedError(f"a section map is damaged: {CORRECTED}"))
        body = self.layout.opener.open(row.seed, row.envelope, rest[: -envelope.CHECK_SIZE])
        header = row.header_bytes
        if body[: len(header)] != header:
            raise DamagedError("a section is damaged: its header is not what the directory says")
        if corrected:
            self._corrected[row.offset] = body[len(header) :]
        return body[len(header) :]

    def sections_with(self, name: str) -> list[int] | None:
        """Numbers of the sections that may have a member of that name, by their filters; None: not all have one."""
        found = []
        for number, row in enumerate(self.layout.rows):
            if row.names is None:
                return None
            if row.names.may_have(name):
                found.append(number)
        return found

    def tally(self, stats: Stats) -> None:
        """Add up what is stored by each codec. Damaged sections are left out, their bytes are not."""
        from zllm.codecs import registry

        rest = self._file.seek(0, io.SEEK_END) - self._start
        for size in self.model_sizes():
            stats.stored(EMBEDDED, 0, size)
            rest -= size
        for section in self.sections():
            for frame in section.layout.frames if isinstance(section, Section) else ():
                stats.stored(registry.name_of(frame.codec), frame.raw_size, frame.coded_size)
                rest -= frame.coded_size
        stats.stored(HEADERS, 0, rest)

    def model_sizes(self) -> Iterator[int]:
        """Bytes of each embedded model in the file; damaged ones are left out."""
        for place in (place for places in self.layout.models.values() for place in places):
            with contextlib.suppress(ZllmError):
                read_model(self._file, place, self.layout.limits, self.layout.opener)
                yield place.envelope.whole

    def check_names(self, section: Section) -> None:
        """Compare the names of a section with the directory's filter, which is believed when a member is looked for."""
        row = self._row(section.header.stream_offset)
        known = row.names if row is not None else None
        if known is not None and not all(
            known.may_have(record.name) for record in section.layout.records if record.headers
        ):
            self.note(DamagedError("the archive is damaged: the directory denies names of members that are there"))

    def parts(self) -> Iterator[Place]:
        """All parts that were found, in the order of the file; sections are :class:`Row`. One whose map is damaged
        comes without its frames: what is wrong is noted.
        """
        layout = self.layout
        models = [place for places in layout.models.values() for place in places]
        for place in sorted([*layout.rows, *models, *layout.others, *layout.directories], key=lambda p: p.offset):
            yield place
            if isinstance(place, Row):
                with contextlib.suppress(DamagedError):
                    yield from self._frames_of(place)
            elif place.envelope.kind == Kind.DIRECTORY:
                with contextlib.suppress(DamagedError):
                    yield self._footer_of(place)

    def _frames_of(self, row: Row) -> Iterator[Place]:
        at = row.frames_at
        for frame in self._section(row).layout.frames:
            place = at if row.frames is None else row.frames.get(frame.sequence)
            if place is not None:
                yield Place(place, frame.envelope, row.seed)
            at += frame.coded_size

    def _footer_of(self, directory: Place) -> Place:
        at = directory.offset + directory.envelope.whole
        self._file.seek(at)
        return Place(at, envelope.parse(self._file.read(envelope.MAX_SIZE), directory.seed), directory.seed)

    def unused(self) -> Iterator[DamagedError]:
        """What is wrong with parts that this program does not use."""
        for place in self.layout.others:
            self._file.seek(place.offset + place.envelope.size)
            if not envelope.holds_in_pieces(place.seed, place.envelope, self._file.read):
                if place.envelope.kind == Kind.PARITY:
                    self.warn(LESS)
                else:
                    yield DamagedError(KEYS_DAMAGED if place.envelope.kind == Kind.KEYS else UNUSED)

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
