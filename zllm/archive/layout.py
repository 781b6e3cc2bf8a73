"""Where the sections of an archive are: from the index, or, if that does not do, by going from part to part."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from zllm.archive import repair
from zllm.archive.parts import IndexPart, ModelPart, SectionPart, Walk
from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError, ZllmError
from zllm.format import ends, index, limits, modelblock, section

_STEP = 1 << 20
_PER_ROW = 16 << 10
"""What looking at a row costs, in bytes hashed (:class:`repair.Budget`)."""
BUILT_IN = "built in"
"""The origin of models that zllm brings along; in archives it is left out."""


@dataclass(frozen=True)
class Row:
    """A section: ``offset`` is its header's place in the file, ``header`` has its place in all archives' stream.

    ``base`` is where the stream of its own archive begins. ``front``: the header's bytes as they should be, to be
    compared with those in the file; None if they were read.
    """

    offset: int
    header_size: int
    members: int
    header: section.SectionHeader
    base: int = 0
    front: bytes | None = None

    @property
    def end(self) -> int:
        """Where the next part begins in the file."""
        return self.offset + self.header_size + self.header.body_size


@dataclass
class Layout:
    """``problem`` is what is wrong with the archive as a whole, to be raised once everything readable was read."""

    rows: list[Row]
    start: int = 0
    """Where in the file the first archive begins."""
    manifest: dict[str, Any] = field(default_factory=dict)
    models: dict[bytes, list[int]] = field(default_factory=dict)
    """Where the blocks of embedded models are, by the models' SHA-256."""
    warnings: list[str] = field(default_factory=list)
    problem: ZllmError | None = None
    unsure: set[int] = field(default_factory=set)
    """Offsets of rows that a search has found."""
    budget: repair.Budget = field(default_factory=repair.Budget)


class FileSource:
    """A seekable file as a source of parts, from ``start`` on."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        self.position = 0

    def peek(self, size: int) -> bytes:
        """See :class:`parts.Source`."""
        self._file.seek(self._start + self.position)
        return self._file.read(size)

    def take(self, size: int) -> bytes:
        """See :class:`parts.Source`."""
        data = self.peek(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See :class:`parts.Source`. What is beyond the end is found out by the next read."""
        self.position += size
        return size


def find(file: BinaryIO) -> Layout:
    """The layout of a seekable file, from its position to its end. Its manifest names the models of all sections.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and so is the footer.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    start = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    head = file.read(ends.FILE_HEADER_SIZE)
    problem: DamagedError | NotZllmError | None = None
    try:
        ends.check_file_header(head)
    except (DamagedError, NotZllmError) as exc:
        problem = exc
    try:
        layout = _by_index(file, start, size)
    except (DamagedError, UnsupportedVersionError):
        layout = _by_walking(file, start)
    else:
        if problem is not None:
            layout.problem = DamagedError(f"{problem}: the rest of the archive is whole, nothing is lost")
    layout.manifest["models"] = [facts(model) for model in models_of(row.header for row in layout.rows)]
    return layout


def _by_index(file: BinaryIO, start: int, size: int) -> Layout:
    """By the index of the only archive in the file, if it tells where every byte belongs."""
    footer_at, footer = _footer(file, start, size)
    end = footer_at - ends.index_size(footer)
    if end < start + ends.FILE_HEADER_SIZE:
        raise DamagedError("the footer is damaged: the index is not where it says")
    file.seek(end)
    block = file.read(footer_at - end)
    ends.check_footer(footer, block)
    found = index.unpack(block)
    rows = [_row(file, start, entry) for entry in found.entries]
    models = _blocks(file, start, found.manifest)
    _check_order(rows, start, end, models)
    return Layout(rows, start, found.manifest, {block.sha256: [place] for place, block in models.items()})


def _footer(file: BinaryIO, start: int, size: int) -> tuple[int, bytes]:
    """The last footer and its place, before nothing but zeros."""
    end = size
    while end > start:
        file.seek(max(start, end - _STEP))
        data = file.read(end - max(start, end - _STEP))
        rest = data.rstrip(b"\0")
        end -= len(data) - len(rest)
        if rest:
            break
    for at in range(end - ends.FOOTER_SIZE, min(end, size - ends.FOOTER_SIZE + 1)):  # a checksum may end with zeros
        if at >= start:
            file.seek(at)
            footer = file.read(ends.FOOTER_SIZE)
            if footer[:4] == ends.FOOTER_MAGIC:
                return at, footer
    raise DamagedError("the footer is missing")


def _row(file: BinaryIO, start: int, entry: index.Entry) -> Row:
    """The row of an entry: its section's header is read where the index does not repeat it."""
    if entry.header is not None:
        front = section.pack(entry.header)
        if len(front) != entry.header_size:
            raise DamagedError("the index is damaged: a header has another length")
        return Row(start + entry.offset, len(front), entry.members, entry.header, front=front)
    file.seek(start + entry.offset)
    front = file.read(limits.MAX_SECTION_HEADER)
    if front[:4] != section.MAGIC:
        raise DamagedError("the index is damaged: a section is not where it says")
    size = section.size_of(front[: section.FRONT_SIZE])
    return Row(start + entry.offset, size, entry.members, section.unpack(front[:size]))


def _blocks(file: BinaryIO, start: int, manifest: dict[str, Any]) -> dict[int, modelblock.ModelBlock]:
    """The models' blocks, by their places."""
    places = manifest.get("blocks", [])
    if not isinstance(places, list) or not all(type(place) is int and 0 <= place < 1 << 62 for place in places):
        raise DamagedError("the index is damaged: its list of models makes no sense")
    blocks = {}
    for place in places:
        file.seek(start + place)
        blocks[start + place] = modelblock.unpack_header(file.read(modelblock.HEADER_SIZE))
    return blocks


def _check_order(rows: list[Row], start: int, end: int, models: dict[int, modelblock.ModelBlock]) -> None:
    """Parts follow each other from the file header to the index, and nothing is between them."""
    sizes = {place: modelblock.HEADER_SIZE + block.coded_size for place, block in models.items()}
    place, stream = start + ends.FILE_HEADER_SIZE, 0
    for number, row in enumerate(rows):
        while place in sizes:
            place += sizes.pop(place)
        header = row.header
        if row.offset != place or header.stream_offset != stream or header.number != number:
            raise DamagedError("the index is damaged: a section is not where it says")
        place, stream = row.end, stream + header.stream_size
    while place in sizes:
        place += sizes.pop(place)
    if place != end or sizes:
        raise DamagedError("the index is damaged: there are parts that it does not name")


def _by_walking(file: BinaryIO, start: int) -> Layout:
    """By going from part to part."""
    source = FileSource(file, start)
    layout = Layout([], start)
    walk = Walk(source, layout.budget)
    for part in walk.parts():
        if isinstance(part, SectionPart):
            layout.rows.append(Row(start + part.offset, part.header_size, 0, part.placed, part.base))
            if not part.sure:
                layout.unsure.add(start + part.offset)
            source.skip(part.header.body_size)
        elif isinstance(part, ModelPart):
            layout.models.setdefault(part.block.sha256, []).append(start + part.offset)
            source.skip(modelblock.HEADER_SIZE + part.block.coded_size)
        else:
            _complete(layout, part, start, start + source.position)
    layout.manifest, layout.warnings, layout.problem = walk.manifest, walk.warnings, walk.problem
    if layout.models:
        layout.manifest["blocks"] = sorted(place - start for places in layout.models.values() for place in places)
    return layout


def _complete(layout: Layout, part: IndexPart, start: int, end: int) -> None:
    """Add sections whose own header is damaged where the index repeats it; drop what a search took for sections."""
    here = start + part.start
    first = bisect_left(layout.rows, here, key=lambda row: row.offset)
    if not part.exact:
        if not layout.budget.spend(len(layout.rows) - first + len(part.index.entries), _PER_ROW):
            return
        layout.rows[first:] = _corrected(layout, layout.rows[first:], part, here, end)
    models = models_of(row.header for row in layout.rows[first:])
    embedded = [model.sha256 for model in models if model.embedded]
    places = part.index.manifest.get("blocks")
    for sha256, place in zip(embedded, places if isinstance(places, list) else (), strict=False):
        if sha256 not in layout.models and type(place) is int and 0 <= place < 1 << 62:  # its header is damaged
            layout.models[sha256] = [here + place]


def _corrected(layout: Layout, found: list[Row], part: IndexPart, here: int, end: int) -> list[Row]:
    """The rows of an archive, which begins at ``here`` and ends at ``end`` of the file, by what its index says."""
    named = {here + entry.offset for entry in part.index.entries}
    rows = [row for row in found if row.offset in named or row.offset not in layout.unsure]
    known = {row.offset for row in rows}
    for entry in part.index.entries:
        if entry.header is None or here + entry.offset in known:
            continue
        placed = replace(entry.header, stream_offset=part.base + entry.header.stream_offset)
        front = section.pack(entry.header)
        row = Row(here + entry.offset, len(front), entry.members, placed, part.base, front)
        if len(front) == entry.header_size and row.end <= end:
            rows.append(row)
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
    stream_end = row.header.stream_offset + row.header.stream_size
    return behind.offset < row.end or behind.header.stream_offset < stream_end


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
