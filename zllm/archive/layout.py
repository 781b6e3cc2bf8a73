"""Where the sections of an archive are: from its directories, or, if that does not do, by going from part to part."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError, ZllmError, worse
from zllm.format import directory, ends, envelope, modelpart, repair, section, sectionmap
from zllm.format.beginning import recovered
from zllm.format.directory import Directory
from zllm.format.envelope import Envelope, Kind
from zllm.format.names import NameFilter
from zllm.format.parts import (
    DELETED,
    DirectoryPart,
    FramePart,
    FramesPart,
    ModelPart,
    OtherPart,
    SectionPart,
    Walk,
    frames_of,
    refusal,
)
from zllm.format.sectionmap import SectionMap

_STEP = 1 << 20
_PER_ROW = 16 << 10
"""What looking at a row costs, in bytes hashed (:class:`repair.Budget`)."""
_FOOTER = envelope.MAX_SIZE + 10 + envelope.CHECK_SIZE
"""Most bytes of a footer."""
BUILT_IN = "built in"
"""The origin of models that zllm brings along; in archives it is left out."""


@dataclass(frozen=True)
class Place:
    """A part that is no section's: ``offset`` is the place of its envelope in the file."""

    offset: int
    envelope: Envelope
    seed: int


@dataclass(frozen=True)
class Row(Place):
    """A section. ``header`` has its place in all archives' stream.

    ``base`` is where the stream of its own archive begins. ``frames`` are the places of its frames by their sequence
    numbers, if they had to be looked for; else ``frame_count`` of them follow the section, ``frames_size``
    bytes in all. ``map``: the section's, if it had to be read, or a byte of it was wrong and is corrected. ``names``:
    of members, if the archive has a filter.
    """

    members: int
    header: section.SectionHeader
    base: int = 0
    frames: dict[int, int] | None = None
    frame_count: int = 0
    frames_size: int = 0
    map: SectionMap | None = None
    names: NameFilter | None = None

    @property
    def frames_at(self) -> int:
        """Where its first frame begins, if it is right behind the section."""
        return self.offset + self.envelope.whole

    @property
    def end(self) -> int:
        """Where the next part begins in the file."""
        return self.frames_at + self.frames_size

    @property
    def front(self) -> bytes:
        """The bytes before the map as they should be."""
        own = replace(self.header, stream_offset=self.header.stream_offset - self.base)
        return self.envelope.pack(self.seed) + section.pack(own)


@dataclass
class Layout:
    """``problem`` is what is wrong with the archive as a whole, to be raised once everything readable was read."""

    rows: list[Row]
    start: int = 0
    """Where in the file the first archive begins."""
    manifest: dict[str, Any] = field(default_factory=dict)
    models: dict[bytes, list[Place]] = field(default_factory=dict)
    """Embedded models, by their SHA-256."""
    others: list[Place] = field(default_factory=list)
    """Parts that this program does not use."""
    directories: list[Place] = field(default_factory=list)
    """One for each generation, the oldest first."""
    warnings: list[str] = field(default_factory=list)
    problem: ZllmError | None = None
    budget: repair.Budget = field(default_factory=repair.Budget)
    walked: bool = False
    """Made by going from part to part."""

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged."""
        self.problem = worse(self.problem, problem)


class FileSource:
    """A seekable file as a source of parts, from ``start`` on."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        self.position = 0

    def peek(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        self._file.seek(self._start + self.position)
        return self._file.read(size)

    def look(self, distance: int, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        self._file.seek(self._start + self.position + distance)
        return self._file.read(size)

    def take(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        data = self.peek(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See :class:`beginning.Source`. What is beyond the end is found out by the next read."""
        self.position += size
        return size


def find(file: BinaryIO) -> Layout:
    """The layout of a seekable file, from its position to its end. Its manifest names the models of all sections.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and no archive can be made out behind it.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    start = file.tell()
    source = FileSource(file, start)
    problem: DamagedError | NotZllmError | None = None
    try:
        archive_id = ends.read_header(source.peek(ends.HEADER_SIZE))
    except (DamagedError, NotZllmError) as exc:
        problem = exc
        found = recovered(source, repair.Budget())
        if found is None:
            raise
        archive_id = found
    try:
        layout = _Directories(file, start, envelope.seed_of(archive_id)).layout()
    except (DamagedError, UnsupportedVersionError):
        layout = walked(file, start)
    else:
        if problem is not None:
            layout.problem = DamagedError(f"{problem}: the rest of the archive is whole, nothing is lost")
    layout.manifest["models"] = [facts(model) for model in models_of(row.header for row in layout.rows)]
    return layout


class _Directories:
    """The only archive in a file, by its directories, if they tell where every byte belongs.

    Raises:
        DamagedError: they do not.
        UnsupportedVersionError: a feature that this program does not read.
    """

    def __init__(self, file: BinaryIO, start: int, seed: int) -> None:
        self._file = file
        self._start = start
        self._seed = seed
        self._at = self._sequence = self._stream = 0

    def layout(self) -> Layout:
        """Where everything is."""
        layout = Layout([], self._start)
        self._at = self._start + ends.HEADER_SIZE
        for place, found, footer in self._generations():
            self._follow(layout, found, place)
            layout.directories.append(place)
            layout.manifest = {**found.manifest, **layout.manifest}
            if found.deleted:
                layout.note(UnsupportedVersionError(DELETED))
            self._at, self._sequence = footer.offset + footer.envelope.whole, footer.envelope.sequence + 1
        return layout

    def _generations(self) -> list[tuple[Place, Directory, Place]]:
        """Each directory with its footer, the oldest first."""
        footer, distance = self._last_footer()
        out: list[tuple[Place, Directory, Place]] = []
        place = self._part(footer.offset - distance, Kind.DIRECTORY)
        while True:
            if place.offset + place.envelope.whole != footer.offset:
                raise DamagedError("the directory is damaged: it is not where the footer says")
            body = self._body(place)
            found = directory.unpack(body, self._seed)
            out.append((place, found, footer))
            if not found.back:
                break
            before = self._part(place.offset - found.back, Kind.DIRECTORY)
            footer = self._part(before.offset + before.envelope.whole, Kind.FOOTER)
            self._body(footer)
            if footer.offset + footer.envelope.whole > place.offset:
                raise DamagedError("the directory is damaged: it is not behind the one before it")
            place = before
        out.reverse()
        if [found.generation for _, found, _ in out] != list(range(len(out))):
            raise DamagedError("the directory is damaged: its generation is another one")
        return out

    def _part(self, offset: int, kind: Kind) -> Place:
        """The part at a place of the file."""
        if offset < self._start + ends.HEADER_SIZE:
            raise DamagedError("the directory is damaged: it is not where it should be")
        self._file.seek(offset)
        found = envelope.parse(self._file.read(envelope.MAX_SIZE), self._seed)
        if found.kind != kind:
            raise DamagedError("the directory is damaged: another part is where it should be")
        refused = refusal(found)
        if refused is not None:
            raise refused
        return Place(offset, found, self._seed)

    def _body(self, place: Place) -> bytes:
        self._file.seek(place.offset)
        part = self._file.read(place.envelope.whole)
        if len(part) < place.envelope.whole or not envelope.holds(self._seed, part):
            raise DamagedError("the directory is damaged: its checksum does not hold")
        return part[place.envelope.size : -envelope.CHECK_SIZE]

    def _last_footer(self) -> tuple[Place, int]:
        """The footer before nothing but zeros, and how far before it the directory begins."""
        size = end = self._file.seek(0, io.SEEK_END)
        while end > self._start:
            self._file.seek(max(self._start, end - _STEP))
            data = self._file.read(end - max(self._start, end - _STEP))
            rest = data.rstrip(b"\0")
            end -= len(data) - len(rest)
            if rest:
                break
        first = max(self._start, end - _FOOTER)
        self._file.seek(first)
        data = self._file.read(min(size, end + envelope.CHECK_SIZE) - first)  # a checksum may end with zeros
        at = data.rfind(envelope.SYNC + bytes([Kind.FOOTER]))
        while at >= 0:
            try:
                place = self._part(first + at, Kind.FOOTER)
                if end <= place.offset + place.envelope.whole <= size:
                    return place, ends.read_footer(self._body(place))
            except DamagedError:
                pass
            at = data.rfind(envelope.SYNC + bytes([Kind.FOOTER]), 0, at)
        raise DamagedError("the footer is missing")

    def _follow(self, layout: Layout, found: Directory, place: Place) -> None:
        """The parts of a generation follow each other to its directory, and nothing is between them."""
        others = {self._start + other.offset: other for other in found.others}
        bounds = sorted([*(self._start + row.offset for row in found.rows), *others, place.offset])
        for named in found.rows:
            self._others(layout, others)
            if self._start + named.offset != self._at or named.sequence != self._sequence:
                raise DamagedError("the directory is damaged: a section is not where it says")
            last = bounds[bisect_left(bounds, self._at) + 1]
            row = self._row(named)
            if row.header.stream_offset != self._stream or row.end != last:
                raise DamagedError("the directory is damaged: a section is not where it says")
            layout.rows.append(row)
            self._at, self._stream = row.end, row.header.stream_end
        self._others(layout, others)
        if self._at != place.offset or others or self._sequence != place.envelope.sequence:
            raise DamagedError("the directory is damaged: there are parts that it does not name")

    def _row(self, named: directory.Row) -> Row:
        """The row of a section."""
        if named.header is not None:
            self._sequence += 1 + named.frames
            return Row(
                self._at, named.envelope, self._seed, named.members, named.header, names=named.names,
                frame_count=named.frames, frames_size=named.frames_size,
            )  # fmt: skip
        place = self._part(self._at, Kind.SECTION)
        body = self._body(place)
        header, at = section.read(body)
        found = sectionmap.decode(body[at:], header, self._sequence + 1)
        count, size = frames_of(found)
        self._sequence += 1 + count
        return Row(
            self._at, place.envelope, self._seed, named.members, header, names=named.names, frame_count=count,
            frames_size=size, map=found,
        )  # fmt: skip

    def _others(self, layout: Layout, others: dict[int, directory.OtherPart]) -> None:
        """What is here beside sections."""
        while self._at in others:
            other = others.pop(self._at)
            self._file.seek(self._at)
            found = envelope.parse(self._file.read(envelope.MAX_SIZE), self._seed)
            if found != other.envelope or found.sequence != self._sequence:
                raise DamagedError("the directory is damaged: a part is not what it says")
            place = Place(self._at, found, self._seed)
            refused = refusal(found)
            if refused is not None:
                layout.note(refused)
            model = read_model(self._file, place) if refused is None and found.kind == Kind.MODEL else None
            if model is not None:
                layout.models.setdefault(model.sha256, []).append(place)
            else:
                layout.others.append(place)
            self._at, self._sequence = self._at + found.whole, self._sequence + 1


def read_model(file: BinaryIO, place: Place) -> modelpart.ModelFile:
    """What a model part says before the model.

    Raises:
        DamagedError: it contradicts itself or a limit.
        UnsupportedVersionError: it is coded in a way that this version does not have.
    """
    file.seek(place.offset + place.envelope.size)
    front = file.read(min(modelpart.FRONT_SIZE, place.envelope.length))
    return modelpart.read_front(front, place.envelope.length)


def walked(file: BinaryIO, start: int) -> Layout:
    """The layout of a file whose first archive begins at ``start``, by going from part to part."""
    source = FileSource(file, start)
    layout = Layout([], start, walked=True)
    walk = Walk(source, layout.budget)
    for part in walk.parts():
        if isinstance(part, SectionPart):
            found = part.map if part.corrected else None
            place = start + part.offset
            layout.rows.append(Row(place, part.envelope, part.seed, 0, part.placed, part.base, {}, map=found))
        elif isinstance(part, FramesPart):
            layout.rows[-1] = replace(layout.rows[-1], frames=None, frame_count=part.count, frames_size=part.size)
            source.skip(part.size)
        elif isinstance(part, DirectoryPart):
            _complete(file, layout, part, start)
        else:
            _add(layout, part, start)
            source.skip(part.envelope.whole)
    layout.manifest, layout.warnings, layout.problem = walk.manifest, walk.warnings, walk.problem
    return layout


def _add(layout: Layout, part: OtherPart, start: int) -> None:
    place = Place(start + part.offset, part.envelope, part.seed)
    if isinstance(part, FramePart):
        last = layout.rows[-1] if layout.rows else None
        if last is not None and last.seed == part.seed and last.frames is not None:
            last.frames[part.envelope.sequence] = place.offset
    elif isinstance(part, ModelPart):
        layout.models.setdefault(part.model.sha256, []).append(place)
    else:
        layout.others.append(place)


def _complete(file: BinaryIO, layout: Layout, part: DirectoryPart, start: int) -> None:
    """Add what is damaged in its place, and the directory tells of: sections, models."""
    layout.directories.append(Place(start + part.offset, part.envelope, part.seed))
    here = start + part.start
    known = {place.offset for places in layout.models.values() for place in places}
    for other in part.directory.others:
        if other.envelope.kind == Kind.MODEL and here + other.offset not in known:
            place = Place(here + other.offset, other.envelope, part.seed)
            try:
                layout.models.setdefault(read_model(file, place).sha256, []).append(place)
            except ZllmError:
                continue
    if part.exact:
        return
    first = bisect_left(layout.rows, here, key=lambda row: row.offset)
    if layout.budget.spend(len(layout.rows) - first + len(part.directory.rows), _PER_ROW):
        layout.rows[first:] = _corrected(layout.rows[first:], part, here, start + part.offset)


def _corrected(found: list[Row], part: DirectoryPart, here: int, end: int) -> list[Row]:
    """The rows of an archive, which begins at ``here``, with those that its directory has, which is at ``end``."""
    known = {row.offset for row in found}
    rows = list(found)
    for named in part.directory.rows:
        if named.header is None or here + named.offset in known or here + named.end > end:
            continue
        placed = replace(named.header, stream_offset=part.base + named.header.stream_offset)
        row = Row(here + named.offset, named.envelope, part.seed, named.members, placed, part.base)
        rows.append(replace(row, names=named.names, frame_count=named.frames, frames_size=named.frames_size))
    return _apart(sorted(rows, key=lambda row: row.offset), known)


def _apart(rows: list[Row], known: set[int]) -> list[Row]:
    """``rows`` without those that were added and overlap others, in the file or in the stream."""
    kept: list[Row] = []
    for row in rows:
        if row.offset in known:
            while kept and kept[-1].offset not in known and _overlap(kept[-1], row):
                kept.pop()
        elif kept and _overlap(kept[-1], row):
            continue
        kept.append(row)
    return kept


def _overlap(row: Row, behind: Row) -> bool:
    return behind.offset < row.end or behind.header.stream_offset < row.header.stream_end


def models_of(headers: Iterable[section.SectionHeader]) -> list[section.ModelRef]:
    """The models that sections need, each once."""
    return list(dict.fromkeys(model for header in headers for model in header.models))


def facts(model: section.ModelRef) -> dict[str, Any]:
    """A model as the manifest names it."""
    return {
        "name": model.name,
        "sha256": model.sha256.hex(),
        "size": model.size,
        "arithmetic": model.arithmetic,
        "known_answer": model.known_answer.hex(),
        "origin": model.origin or BUILT_IN,
        "embedded": model.embedded,
    }
