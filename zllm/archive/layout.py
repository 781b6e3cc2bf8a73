"""Where the sections of an archive are: from its directories, or, if that does not do, by going from part to part."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, BinaryIO

from zllm.archive.directories import Directories
from zllm.archive.generations import Generation, members_of
from zllm.archive.places import Layout, Place, Row, missing, read_model
from zllm.errors import DamagedError, LockedError, NotZllmError, UnsupportedVersionError, UsageError, ZllmError
from zllm.format import ends, envelope, repair, sealing, section
from zllm.format.beginning import recovered
from zllm.format.envelope import Kind
from zllm.format.found import DirectoryPart, FramePart, FramesPart, ModelPart, OtherPart, SectionPart
from zllm.format.limits import DEFAULT, Limits
from zllm.format.parts import Walk

__all__ = ["BUILT_IN", "FileSource", "Layout", "Place", "Row", "facts", "find", "models_of", "read_model", "walked"]

_PER_ROW = 16 << 10
"""What looking at a row costs, in bytes hashed (:class:`repair.Budget`)."""
UNFINISHED = (
    "bytes behind the archive are a generation that was never finished, and are passed over: the archive is as it was "
    "before, and the next change of it overwrites them"
)
BUILT_IN = "built in"
"""The origin of models that zllm brings along; in archives it is left out."""


class FileSource:
    """A seekable file as a source of parts, from ``start`` on."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        self._size = file.seek(0, io.SEEK_END) - start
        self.position = 0

    def peek(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        self._file.seek(self._start + self.position)
        return self._file.read(size)

    def look(self, distance: int, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        if distance > self._size - self.position:
            return b""  # lengths in damaged archives are farther than files reach
        self._file.seek(self._start + self.position + distance)
        return self._file.read(size)

    def take(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        data = self.peek(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See :class:`beginning.Source`."""
        skipped = min(size, max(0, self._size - self.position))
        self.position += skipped
        return skipped


def find(
    file: BinaryIO,
    limits: Limits = DEFAULT,
    generation: int | None = None,
    opener: sealing.Opener = sealing.LOCKED,
) -> Layout:
    """The layout of a seekable file, from its position to its end, as it was when it had no later ``generation`` than
    that. Its manifest names the models of all sections.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and no archive can be made out behind it.
        UnsupportedVersionError: a version or a feature that this program does not read.
        LimitError: the archive has more than ``limits`` allow.
        UsageError: there is no such generation, or there are several archives.
        LockedError: it is encrypted, and ``opener`` does not have its key.
    """
    start = file.tell()
    layout = _found(file, start, limits, generation, opener)
    places = [place for place in layout.others if place.envelope.kind == Kind.PARITY]
    if places:
        from zllm.archive.mending import Mender

        mender = Mender(file, start, places, layout.warnings.append)
        if layout.problem is not None and mender.mend():
            mended = _found(mender.file, start, limits, generation, opener)
            layout.warnings += [text for text in mended.warnings if text not in layout.warnings]
            mended.warnings, layout = layout.warnings, mended
        layout.mender = mender
    layout.manifest["models"] = [facts(model) for model in models_of(row.header for row in layout.rows)]
    return layout


def _found(
    file: BinaryIO, start: int, limits: Limits, generation: int | None, opener: sealing.Opener
) -> Layout:
    """As :func:`find`, without parity."""
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
        layout = Directories(file, start, envelope.seed_of(archive_id), limits, generation, opener).layout()
    except (DamagedError, UnsupportedVersionError):
        layout = walked(file, start, limits, generation, opener)
    else:
        if problem is not None:
            layout.problem = DamagedError(f"{ends.damage(problem)}: the rest of the archive is whole, nothing is lost")
    return layout


def is_changed(file: BinaryIO, limits: Limits = DEFAULT, opener: sealing.Opener = sealing.LOCKED) -> bool:
    """Whether the archive in a seekable file, from its position on, has several generations, or one that was never
    finished. The position stays.

    Raises:
        LockedError: it is encrypted, and ``opener`` does not have its key.
    """
    start = file.tell()
    try:
        seed = envelope.seed_of(ends.read_header(file.read(ends.HEADER_SIZE)))
        return Directories(file, start, seed, limits, opener=opener).last_number() > 0
    except (DamagedError, NotZllmError, UnsupportedVersionError):
        pass
    finally:
        file.seek(start)
    try:
        found = find(file, limits, opener=opener)
    except LockedError:
        raise
    except ZllmError:
        return False
    finally:
        file.seek(start)
    return bool(found.unfinished) or any(one.number for one in found.generations)


def walked(
    file: BinaryIO,
    start: int,
    limits: Limits = DEFAULT,
    generation: int | None = None,
    opener: sealing.Opener = sealing.LOCKED,
) -> Layout:
    """The layout of a file whose first archive begins at ``start``, by going from part to part."""
    source = FileSource(file, start)
    layout = Layout([], start, limits=limits, walked=True, opener=opener)
    walk = Walk(source, layout.budget, limits, opener)
    models: set[int] = set()  # where they are
    directories: list[DirectoryPart] = []
    for part in walk.parts():
        if isinstance(part, SectionPart):
            row = Row(start + part.offset, part.envelope, part.seed, part.map.members(), part.placed, part.base, {})
            layout.rows.append(replace(row, corrected=part.corrected))
        elif isinstance(part, FramesPart):
            layout.rows[-1] = replace(layout.rows[-1], frames=None, frame_count=part.count, frames_size=part.size)
            source.skip(part.size)
        elif isinstance(part, DirectoryPart):
            _complete(file, layout, part, start, models)
            directories.append(part)
        else:
            _add(layout, part, start)
            if isinstance(part, ModelPart):
                models.add(start + part.offset)
            source.skip(part.envelope.whole)
    layout.manifest, layout.warnings, layout.problem = walk.manifest, walk.warnings, walk.problem
    layout.rest = walk.rest
    unfinished = walk.unfinished
    if unfinished is not None:
        _cut(layout, start + unfinished.offset)
        layout.unfinished, layout.problem = unfinished.size, unfinished.problem
        layout.warnings.append(f"{unfinished.size} {UNFINISHED}")
        directories = [part for part in directories if part.offset < unfinished.offset]
    if generation is not None:
        directories = _go_back(layout, directories, start, generation)
    _complete_generations(layout, directories, start)
    return layout


def _cut(layout: Layout, end: int) -> None:
    """Forget what begins at ``end`` of the file or behind it."""
    layout.rows = [row for row in layout.rows if row.offset < end]
    layout.others = [place for place in layout.others if place.offset < end]
    layout.directories = [place for place in layout.directories if place.offset < end]
    kept = {name: [place for place in places if place.offset < end] for name, places in layout.models.items()}
    layout.models = {name: places for name, places in kept.items() if places}


def _go_back(layout: Layout, directories: list[DirectoryPart], start: int, generation: int) -> list[DirectoryPart]:
    """Forget what is later than ``generation``; the directories that are not."""
    if any(row.base for row in layout.rows):
        raise UsageError("there are several archives in one file, so a generation's number does not say which")
    kept = [part for part in directories if part.directory.generation <= generation]
    if not kept or kept[-1].directory.generation != generation:
        raise missing(generation, max((part.directory.generation for part in directories), default=-1))
    _cut(layout, ends.footer_end(start + kept[-1].offset, kept[-1].envelope))
    return kept


def _complete_generations(layout: Layout, directories: list[DirectoryPart], start: int) -> None:
    """Add what the directories say of generations."""
    begins, at, before = start, 0, 0
    for part in directories:
        found, end = part.directory, ends.footer_end(start + part.offset, part.envelope)
        try:
            layout.deletions.add(part.base, part.since, found.deleted, before)
        except DamagedError as exc:
            layout.note(exc)
        until = part.since
        while at < len(layout.rows) and layout.rows[at].offset < end:
            before, until = before + layout.rows[at].members, layout.rows[at].header.stream_end
            at += 1
        layout.generations.append(Generation(
            found.generation, found.time, members_of(found), len(found.deleted), begins, end, part.since, until,
            part.base,
        ))  # fmt: skip
        begins = end


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


def _complete(file: BinaryIO, layout: Layout, part: DirectoryPart, start: int, models: set[int]) -> None:
    """Add what is damaged in its place, and the directory tells of: sections, models. ``models``: where those are."""
    layout.directories.append(Place(start + part.offset, part.envelope, part.seed))
    here = start + part.start
    for other in part.directory.others:
        place = Place(here + other.offset, other.envelope, part.seed)
        inside = place.offset + place.envelope.whole <= start + part.offset
        if other.envelope.kind == Kind.MODEL and inside and place.offset not in models:
            models.add(place.offset)
            try:
                layout.models.setdefault(read_model(file, place, layout.limits, layout.opener).sha256, []).append(place)
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
