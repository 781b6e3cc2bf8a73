"""Where the sections of an archive are: from the index, or, if that is damaged or missing, by looking for them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from zllm.container import ends, index, modelblock, section
from zllm.container.wire import checksum64
from zllm.errors import DamagedError, NotZllmError, TruncatedError, ZllmError

_STEP = 1 << 20
TRUNCATED = "the archive is truncated: it ends before its footer. Whole members can be extracted, the rest is lost"


@dataclass
class Layout:
    """``problem`` is what is wrong with the archive as a whole, to be raised once everything readable was read."""

    rows: list[index.SectionRow]
    manifest: dict[str, Any] = field(default_factory=dict)
    members: int | None = None
    models: dict[bytes, int] = field(default_factory=dict)
    """Where the blocks of embedded models are, by the models' SHA-256."""
    warnings: list[str] = field(default_factory=list)
    problem: DamagedError | None = None


def find(file: BinaryIO) -> Layout:
    """The layout of a seekable file, from its start at offset 0.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and so is the footer.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head_problem: DamagedError | NotZllmError | None = None
    try:
        ends.check_file_header(file.read(ends.FILE_HEADER_SIZE))
    except (DamagedError, NotZllmError) as exc:
        head_problem = exc
    try:
        layout = _by_index(file, size)
    except DamagedError as exc:
        if head_problem is not None:
            raise head_problem from None
        layout = Scan(file, size).run()
        if layout.problem is None:
            layout.warnings.append(f"{exc}: the sections were found without it, nothing is lost")
    if head_problem is not None:
        layout.warnings.append(f"{head_problem}: the rest of the archive says what is needed, nothing is lost")
    return layout


def _by_index(file: BinaryIO, size: int) -> Layout:
    if size < ends.FILE_HEADER_SIZE + ends.FOOTER_SIZE:
        raise DamagedError("the footer is missing")
    file.seek(size - ends.FOOTER_SIZE)
    footer = ends.unpack_footer(file.read(ends.FOOTER_SIZE))
    if footer.index_offset + footer.index_size + ends.FOOTER_SIZE > size:
        raise DamagedError("the footer is damaged: the index is not where it says")
    file.seek(footer.index_offset)
    block = file.read(footer.index_size)
    if checksum64(block) != footer.index_check:
        raise DamagedError("the index is damaged: its checksum does not hold")
    found = index.unpack(block)
    for row in found.rows:
        if row.offset + row.header_size + row.header.body_size > footer.index_offset:
            raise DamagedError("the index is damaged: a section is not where it says")
    return Layout(found.rows, found.manifest, footer.members, index.embedded(found.manifest))


class Scan:
    """Goes through a file from section to section, and searches for the next one where something is damaged."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.layout = Layout([])
        self._complete = False
        self._after_index = False

    def run(self) -> Layout:
        """Every section that can be found. Its ``problem`` says what is missing."""
        position = ends.FILE_HEADER_SIZE
        while position < self.size:
            try:
                position = self._step(position)
            except DamagedError as exc:
                self.layout.problem = self.layout.problem or exc
                position = next(self._candidates(position + 1), self.size)
        self._gaps()
        if not self._complete:
            self.layout.problem = TruncatedError(TRUNCATED)
        return self.layout

    def _step(self, position: int) -> int:
        """The place after what is at ``position``."""
        front = self._read(position, index.FRONT_SIZE)
        if front[:4] == section.MAGIC:
            return self._section(position, self._read(position, section.size_of(front)))
        if front[:4] == modelblock.MAGIC:
            block = modelblock.unpack_header(self._read(position, modelblock.HEADER_SIZE))
            self._complete = self._after_index = False
            self.layout.models.setdefault(block.sha256, position)
            return position + modelblock.HEADER_SIZE + block.coded_size
        if front[:4] == index.MAGIC:
            return self._index(position, index.FRONT_SIZE + index.coded_size(front))
        if front[:4] == ends.FOOTER_MAGIC or (self._after_index and self.size - position <= ends.FOOTER_SIZE):
            self._complete = position + ends.FOOTER_SIZE <= self.size  # damaged or not, it is there
            return position + ends.FOOTER_SIZE
        raise DamagedError("the archive is damaged: there is no section where one should be")

    def _index(self, position: int, size: int) -> int:
        block = self._read(position, size)
        # Rows come from the sections themselves. In a damaged index even the version may be another.
        with contextlib.suppress(ZllmError):
            self.layout.manifest = index.unpack(block).manifest
        self._after_index = True
        return position + size

    def _section(self, position: int, data: bytes) -> int:
        header = section.unpack(data)
        self._complete = self._after_index = False
        self.layout.rows.append(index.SectionRow(position, len(data), 0, header))
        return position + len(data) + header.body_size

    def _read(self, position: int, size: int) -> bytes:
        self.file.seek(position)
        return self.file.read(size)

    def _candidates(self, position: int) -> Iterator[int]:
        """Places from ``position`` on where a section, a model or an index starts."""
        while position < self.size:
            block = self._read(position, _STEP + 3)
            magics = (section.MAGIC, modelblock.MAGIC, index.MAGIC)
            for place in sorted(place for magic in magics for place in _hits(block, magic)):
                try:
                    self._check(position + place)
                except ZllmError:
                    continue
                yield position + place
            position += _STEP

    def _check(self, position: int) -> None:
        """Raise what is wrong with what seems to start at ``position``."""
        front = self._read(position, index.FRONT_SIZE)
        if front[:4] == section.MAGIC:
            section.unpack(self._read(position, section.size_of(front)))
        elif front[:4] == modelblock.MAGIC:
            modelblock.unpack_header(self._read(position, modelblock.HEADER_SIZE))
        else:
            index.unpack(self._read(position, index.FRONT_SIZE + index.coded_size(front)))

    def _gaps(self) -> None:
        """Sections that repeat or go back in the stream are not used; gaps show that some are lost."""
        rows: list[index.SectionRow] = []
        end = 0
        for row in self.layout.rows:
            if row.header.stream_offset < end:
                continue
            if row.header.stream_offset > end and self.layout.problem is None:
                self.layout.problem = DamagedError("the archive is damaged: a section is missing")
            rows.append(row)
            end = row.header.stream_offset + row.header.stream_size
        self.layout.rows = rows


def _hits(block: bytes, magic: bytes) -> Iterator[int]:
    place = block.find(magic)
    while place >= 0:
        yield place
        place = block.find(magic, place + 1)
