"""Reading an archive from a pipe: once, from front to end, one section in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from zllm.archive.coding import Decoders
from zllm.archive.embedded import in_memory
from zllm.archive.layout import TRUNCATED
from zllm.archive.sections import Section
from zllm.archive.view import TarView
from zllm.container import ends, index, modelblock, section
from zllm.container.section import OPAQUE, SectionHeader
from zllm.container.wire import checksum64
from zllm.errors import DamagedError, TruncatedError

_STEP = 1 << 16
_MAGICS = (section.MAGIC, modelblock.MAGIC, index.MAGIC, ends.FOOTER_MAGIC)


class Feed:
    """A pipe with a look ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end; they stay."""
        self._buffer = self._buffer + self._read(size - len(self._buffer))
        return self._buffer[:size]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end."""
        if size <= len(self._buffer):
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        data, self._buffer = self._buffer, b""
        return data + self._read(size - len(data)) if data else self._read(size)

    def search(self) -> bool:
        """Go on to the next place that looks like the start of a part; False at the end."""
        self.take(1)
        while data := self.peek(_STEP):
            hits = [place for place in (data.find(magic) for magic in _MAGICS) if place >= 0]
            if hits:
                self.take(min(hits))
                return True
            self.take(max(1, len(data) - 3))
        return False

    def _read(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        parts = []
        while size > 0 and (part := self._file.read(min(size, 16 << 20))):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class PipeView(TarView):
    """Of a pipe. Seeking back goes as far as the start of the section that was read last.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """

    def __init__(self, file: BinaryIO, decoders: Decoders) -> None:
        super().__init__(decoders)
        decoders.warn = self.warnings.append
        self._feed = Feed(file)
        ends.check_file_header(self._feed.take(ends.FILE_HEADER_SIZE))
        self._current: Section | DamagedError | None = None
        self._header: SectionHeader | None = None
        self._end = 0
        self._last_index: bytes | None = None
        self._count = 0
        self._finished = False
        self._complete = False
        self._advance()
        self.opaque = self._header is not None and bool(self._header.flags & OPAQUE)

    def seekable(self) -> bool:
        """Not in general."""
        return False

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Forward, or back within the section.

        Raises:
            OSError: farther back.
        """
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence != io.SEEK_SET:
            raise OSError(29, "a pipe cannot be read from its end")
        if self._header is not None and offset < self._header.stream_offset and offset < self._position:
            raise OSError(29, "a pipe cannot be read backwards")
        self._position = offset
        return offset

    def section_at(self, position: int) -> Section | None:
        """See :meth:`TarView.section_at`."""
        while position >= self._end:
            if not self._advance():
                return None
        if self._header is not None and position < self._header.stream_offset:
            if position < self._position:
                raise OSError(29, "a pipe cannot be read backwards")
            raise DamagedError("a section of the archive is lost")
        if isinstance(self._current, DamagedError):
            raise self._current
        return self._current

    def sections(self) -> Iterator[Section | DamagedError]:
        """See :meth:`TarView.sections`."""
        while self._current is not None:
            yield self._current
            if not self._advance():
                return

    def next_header(self, position: int) -> int | None:
        """See :meth:`TarView.next_header`."""
        while True:
            if isinstance(self._current, Section) and self._current.header.stream_offset > position:
                chart = self._current.chart
                for record, start in zip(chart.records, chart.starts, strict=False):
                    if record.header:
                        return self._current.header.stream_offset + start
            if not self._advance():
                return None

    def drain(self) -> None:
        """See :meth:`TarView.drain`. Producers, too, like to be read to the end."""
        while self._advance():
            continue

    def _advance(self) -> bool:
        """Read the next section; False after the last."""
        while not self._finished:
            try:
                if self._part():
                    return True
            except DamagedError as exc:
                self.problem = self.problem or exc
                self._finished = not self._feed.search()
        if not self._complete:
            self.problem = TruncatedError(TRUNCATED)
        return False

    def _part(self) -> bool:
        """One part of the archive; whether it was a section."""
        front = self._feed.peek(index.FRONT_SIZE)
        if front[:4] == section.MAGIC:
            header = section.unpack(self._feed.peek(section.size_of(front)))
            self._feed.take(section.size_of(front))
            self._section(header)
            return True
        if front[:4] == modelblock.MAGIC:
            self._model(modelblock.unpack_header(self._feed.peek(modelblock.HEADER_SIZE)))
        elif front[:4] == index.MAGIC:
            self._last_index = self._feed.take(index.FRONT_SIZE + index.coded_size(front))
        elif self._last_index is not None and front:
            self._footer(self._feed.take(ends.FOOTER_SIZE))
        elif front:
            raise DamagedError("the archive is damaged: there is no section where one should be")
        else:
            self._finished = True
        return False

    def _section(self, header: SectionHeader) -> None:
        self._complete = False
        self._last_index = None
        if header.stream_offset < self._end:
            raise DamagedError("the archive is damaged: its sections are out of order")
        if header.stream_offset > self._end:
            self.problem = self.problem or DamagedError("the archive is damaged: a section is missing")
        self._current = None  # let go of the last one before the next comes
        blob = self._feed.take(header.map_size)
        body = memoryview(self._feed.take(header.frames_size))
        self._header, self._end = header, header.stream_offset + header.stream_size
        try:
            self._current = Section(
                self._count, header, blob, lambda at, size: body[at : at + size], self.decoders, self.cache
            )
        except DamagedError as exc:
            self._current = exc
        self._count += 1

    def _model(self, block: modelblock.ModelBlock) -> None:
        """Keep a model, coded, for the sections that follow."""
        self._complete, self._last_index = False, None
        self._feed.take(modelblock.HEADER_SIZE)
        self.decoders.embedded[block.sha256] = in_memory(block, self._feed.take(block.coded_size))

    def _footer(self, data: bytes) -> None:
        """Compare the footer with what came before. Nothing is lost if it is damaged."""
        block, self._last_index = self._last_index or b"", None
        self._complete = len(data) == ends.FOOTER_SIZE
        try:
            footer = ends.unpack_footer(data)
            if footer.index_size != len(block) or footer.index_check != checksum64(block):
                raise DamagedError("the index is damaged: its checksum does not hold")
            self.manifest = index.unpack(block).manifest
        except DamagedError as exc:
            if self._complete:
                self.warnings.append(f"{exc}: it was not needed, nothing is lost")
