"""An archive anew, of its newest state alone: sections of which everything stays are copied without being decoded."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from zllm.archive.archive import Archive
from zllm.archive.fileview import FileView
from zllm.archive.member import Member
from zllm.archive.partwriter import CodedSection
from zllm.archive.places import Row
from zllm.archive.sections import Section
from zllm.archive.state import end_of
from zllm.archive.writer import Writer
from zllm.errors import UsageError
from zllm.format import sectionmap, tarscan
from zllm.format.frames import FrameRow
from zllm.format.limits import BLOCK
from zllm.format.names import plain
from zllm.format.sectionmap import SectionMap
from zllm.format.tarscan import padded

_PIECE = 1 << 20
_RECORD = 20 * BLOCK
"""What tar rounds a stream up to."""


@dataclass
class Counts:
    """Members in the new archive, of how many the data was coded again, and sections that were copied as they are."""

    members: int = 0
    again: int = 0
    sections: int = 0


class Compactor:
    """Writes what is in an archive now to another one, which is closed then.

    Args:
        archive: of a seekable file, and without problems.
        writer: of a new archive.
        give: writes a hard link, whose target goes, as what it is a link to, or as a link to another heir of it.

    Raises:
        UsageError: the archive contains one raw stream, or is from a pipe.
    """

    def __init__(self, archive: Archive, writer: Writer, give: Callable[[Member], None]) -> None:
        if not isinstance(archive.view, FileView) or archive.raw:
            raise UsageError("only a tar archive in a file can be compacted")
        self.counts = Counts()
        self._archive = archive
        self._view = archive.view
        self._writer = writer
        self._give = give
        self._kept = _kept(archive)
        self._heirs = self._without_target()
        self._ends = [span for one in self._view.generations if (span := end_of(self._view, one)) is not None]

    def run(self) -> Counts:
        """Write everything.

        Raises:
            DamagedError, MissingModelError, MissingCodecError: something cannot be read.
            OSError: the output cannot be written.
        """
        members = self._archive.everything()
        ahead = next(members, None)
        for rows in _runs(self._view.layout.rows):
            end, here = rows[-1].header.stream_end, []
            while ahead is not None and ahead.offset < end:
                here.append(ahead)
                ahead = next(members, None)
            self._run(rows, here)
        end_size = 2 * BLOCK
        self._writer.write(bytes(end_size + -(self._writer.tell() + end_size) % _RECORD))
        self._writer.close()
        return self.counts

    def _run(self, rows: list[Row], members: list[Member]) -> None:
        """Sections whose data belongs together."""
        kept = [member for member in members if member.offset in self._kept]
        self.counts.members += len(kept)
        if kept and len(kept) == len(members) and not any(member.offset in self._heirs for member in kept):
            for row in rows:
                self._copy(row)
            return
        if any(_has_global(self._section(row)) for row in rows):
            raise UsageError("a global header of the archive would be lost: extract it, and make a new one")
        for member in kept:
            self.counts.again += 1
            if member.offset in self._heirs:
                self._give(member)
                continue
            start, size = member.stored
            self._pass(member.offset, start + padded(size))

    def _pass(self, start: int, end: int) -> None:
        """Some of the tar stream, decoded and coded again."""
        while start < end:
            self._view.seek(start)
            data = self._view.read(min(end - start, _PIECE))
            self._writer.write(data)
            start += len(data)

    def _copy(self, row: Row) -> None:
        """A section as it is, but for the end of the tar that is in it."""
        section = self._section(row)
        header, found = row.header, section.layout
        start = header.stream_offset
        end = next((span for span in self._ends if span[0] < header.stream_end and start < span[1]), None)
        cut = header.stream_end - max(end[0], start) if end is not None else 0
        if cut == header.stream_size:
            return
        records = list(found.records)
        records[-1] = replace(records[-1], zeros=records[-1].zeros - cut)
        blob, size = sectionmap.encode(
            SectionMap(records, found.groups), continued=header.continued, continues=header.continues,
            mixed=self._writer.adaptive, bounded=True,
        )  # fmt: skip
        placed = replace(
            header, stream_offset=self._writer.tell(), stream_size=header.stream_size - cut, columns_size=size
        )
        frames: list[tuple[FrameRow, bytes | memoryview]] = [
            (frame, section.payload(number)) for number, frame in enumerate(found.frames)
        ]
        names = [record.name for record in records if record.headers]
        embedded = self._archive.decoders.embedded
        models = {ref.sha256: embedded[ref.sha256].data for ref in header.models if ref.embedded}
        self._writer.copy(CodedSection(placed, blob, frames, names, not _has_global(section)), models)
        self.counts.sections += 1

    def _section(self, row: Row) -> Section:
        section = self._view.section_at(row.header.stream_offset)
        if section is None:
            raise AssertionError("unreachable")
        return section

    def _without_target(self) -> set[int]:
        """Where hard links that stay begin whose targets do not."""
        found: set[int] = set()
        places: dict[str, int] = {}
        for member in self._archive:
            if member.islnk() and member.offset in self._kept:
                target = places.get(posixpath.normpath(member.linkname))
                if target is None or target not in self._kept:
                    found.add(member.offset)
            places[posixpath.normpath(member.name)] = member.offset
        return found


def _kept(archive: Archive) -> set[int]:
    """Where the members begin that are the last of their names, and were not deleted."""
    return set({plain(member.name): member.offset for member in archive}.values())


def _runs(rows: list[Row]) -> Iterator[list[Row]]:
    """Sections, those together that a member's data goes on from one to the next."""
    run: list[Row] = []
    for row in rows:
        run.append(row)
        if not row.header.continues:
            yield run
            run = []
    if run:
        yield run


def _has_global(section: Section) -> bool:
    return any(
        isinstance(record.headers, bytes) and tarscan.has_global(record.headers) for record in section.layout.records
    )
