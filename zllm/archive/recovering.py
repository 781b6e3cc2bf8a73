"""Makes a whole archive of what is left of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from zllm.archive.archive import Archive
from zllm.archive.fileview import FileView
from zllm.archive.options import WriteOptions
from zllm.archive.partwriter import CodedSection, Output
from zllm.archive.places import Row
from zllm.archive.sections import Section
from zllm.archive.writer import Writer
from zllm.errors import DamagedError, TruncatedError, UsageError, ZllmError
from zllm.format import tarscan
from zllm.format.frames import FrameRow
from zllm.format.limits import BLOCK
from zllm.format.section import ModelRef

_PIECE = 1 << 20
_END = bytes(2 * BLOCK)
"""What a tar archive ends with."""
LOST_SECTION = "a section of the archive is lost, with all members in it"
LOST_END = "the archive was cut off: members that came behind are lost"


@dataclass
class Recovered:
    """What became of a damaged archive. ``lost``: what is wrong with each member that is missing, and its name; empty
    where it is not known which.
    """

    copied: int = 0
    """Sections that are as they were."""
    packed: int = 0
    """Members of damaged sections that were packed again."""
    lost: list[tuple[str, ZllmError]] = field(default_factory=list)


def recover(archive: Archive, out: Output, options: WriteOptions) -> Recovered:
    """Write all that is whole in ``archive``, which is a file, to ``out``, as one generation. Sections without damage
    are copied as they are; of others, and of those with members that were deleted or replaced later, members that are
    proved are packed again as ``options`` say. An encrypted archive is encrypted again, with the same keys.

    Raises:
        UsageError: the archive is a pipe, contains one raw stream, or there is nothing whole in it.
        OSError: ``out`` cannot be written.
        UnsupportedVersionError: something of the archive is not known to this program.
    """
    view = archive.view
    if not isinstance(view, FileView):
        raise UsageError("a pipe cannot be recovered: save it to a file")
    if archive.raw:
        raise UsageError("an archive of one raw stream cannot be recovered: zllm -d gives what is before the damage")
    return _Recovery(archive, view, Writer(out, replace(options, sealing=archive.sealing))).run()


class _Recovery:
    def __init__(self, archive: Archive, view: FileView, writer: Writer) -> None:
        self._archive = archive
        self._view = view
        self._writer = writer
        self._found = Recovered()
        self._tail = b""  # what the tar stream ends with so far

    def run(self) -> Recovered:
        view, end = self._view, 0
        view.strict = True
        for chain in self._chains():
            if chain[0].header.stream_offset > end:
                self._found.lost.append(("", DamagedError(LOST_SECTION)))
            end = chain[-1].header.stream_end
            coded = [self._whole(row) for row in chain]
            whole = all(one is not None for one in coded) and _joined(chain) and not self._hides(chain)
            for one in coded if whole else ():
                if one is not None:
                    self._copy(*one)
                    self._found.copied += 1
            if whole:
                self._tail = self._zeros(chain[-1])
            else:
                self._pack(chain)
        if isinstance(view.problem, TruncatedError) and self._tail != _END:
            self._found.lost.append(("", DamagedError(LOST_END)))
        if not self._found.copied and not self._found.packed and self._found.lost:
            raise UsageError("there is no whole member in the archive")
        if self._tail != _END:
            self._writer.write(_END)
        self._writer.close()
        return self._found

    def _chains(self) -> Iterator[list[Row]]:
        """Sections that members span, together; others alone."""
        rows, chain = list(self._view.layout.rows), []
        for number, row in enumerate(rows):
            chain.append(row)
            after = rows[number + 1] if number + 1 < len(rows) else None
            goes_on = row.header.continues and after is not None and after.header.continued
            if not goes_on or after is None or after.header.stream_offset != row.header.stream_end:
                yield chain
                chain = []

    def _hides(self, chain: list[Row]) -> bool:
        """Whether a member in it was deleted or replaced by a later generation: it is not to come back."""
        sections = [section for row in chain if (section := self._section(row)) is not None]
        return any(
            self._view.hides(record.name, section.header.stream_offset + start)
            for section in sections
            for record, start in zip(section.layout.records, section.layout.starts, strict=False)
            if record.headers
        )

    def _section(self, row: Row) -> Section | None:
        try:
            found = self._view.section_at(row.header.stream_offset)
        except DamagedError as exc:
            self._found.lost.append(("", exc))
            return None
        return found if found is not None and found.header.stream_offset == row.header.stream_offset else None

    def _whole(self, row: Row) -> tuple[CodedSection, dict[bytes, bytes]] | None:
        """The section as it is in the archive, and its embedded models; None if anything of it is damaged."""
        section = self._section(row)
        if section is None:
            return None
        frames: list[tuple[FrameRow, bytes | memoryview]] = []
        for number, frame in enumerate(section.layout.frames):
            payload = _payload(section, number)
            if payload is None:
                return None
            frames.append((frame, payload))
        records = section.layout.records
        names = [record.name for record in records if record.headers]
        sure = not any(isinstance(r.headers, bytes) and tarscan.has_global(r.headers) for r in records if r.headers)
        models, refs = self._models(row.header.models)
        header = replace(row.header, models=refs)
        return CodedSection(header, self._view.map_bytes(row), frames, names, sure), models

    def _copy(self, coded: CodedSection, models: dict[bytes, bytes]) -> None:
        header = replace(coded.header, stream_offset=self._writer.tell())
        fetch = {sha256: partial(bytes, data) for sha256, data in models.items()}
        self._writer.copy(replace(coded, header=header), fetch)

    def _models(self, refs: tuple[ModelRef, ...]) -> tuple[dict[bytes, bytes], tuple[ModelRef, ...]]:
        """Files of embedded models, and all models: those that are lost are not embedded any more."""
        models: dict[bytes, bytes] = {}
        out = []
        for ref in refs:
            embedded = self._view.decoders.embedded.get(ref.sha256) if ref.embedded else None
            try:
                if embedded is not None:
                    models[ref.sha256] = bytes(embedded.fetch()[1])
            except ZllmError as exc:
                self._found.lost.append(("", exc))
            out.append(replace(ref, embedded=ref.sha256 in models))
        return models, tuple(out)

    def _pack(self, chain: list[Row]) -> None:
        """Pack again what is whole of damaged sections: each record from its headers to the next one's."""
        for row in chain:
            section = self._section(row)
            if section is None:
                continue
            layout = section.layout
            for number, record in enumerate(layout.records):
                start, size = section.header.stream_offset + layout.starts[number], record.size
                if section.header.continues and number == len(layout.records) - 1:
                    size = self._size_in(chain, row, record.size)
                if record.headers and not self._view.hides(record.name, start):
                    self._member(record.name, start, size)

    def _size_in(self, chain: list[Row], first: Row, size: int) -> int:
        """Bytes of the tar stream of the member that the section ``first`` ends with, in all sections. Of what cannot
        be read nothing is known, and it is taken for the member's.
        """
        for row in chain[chain.index(first) + 1 :]:
            section = self._section(row)
            if section is None:
                return size + row.header.stream_size
            records = section.layout.records
            size += records[0].size
            if len(records) > 1 or not section.header.continues:
                break
        return size

    def _member(self, name: str, start: int, size: int) -> None:
        try:
            for _ in self._read(start, size):  # its hash is compared at its end
                pass
            for piece in self._read(start, size):
                self._writer.write(piece)
                self._tail = (self._tail + piece)[-len(_END) :]
        except ZllmError as exc:
            self._found.lost.append((name, exc))
        else:
            self._found.packed += 1

    def _read(self, start: int, size: int) -> Iterator[bytes]:
        self._view.seek(start)
        left = size
        while left:
            piece = self._view.read(min(left, _PIECE))
            if not piece:
                raise DamagedError("the archive ends inside it")
            left -= len(piece)
            yield piece

    def _zeros(self, row: Row) -> bytes:
        """What the section ends with, as far as it is zeros."""
        section = self._section(row)
        return bytes(min(section.layout.records[-1].zeros, len(_END))) if section is not None else b""


def _payload(section: Section, frame: int) -> bytes | memoryview | None:
    """What a frame's codec made, corrected if one byte is wrong; None: it is damaged."""
    try:
        return section.payload(frame)
    except DamagedError:
        section.load([frame])
        return section.fixed.get(frame)


def _joined(chain: list[Row]) -> bool:
    """Whether the first member begins in the chain, and the last one ends there."""
    return not chain[0].header.continued and not chain[-1].header.continues
