"""Reading an archive from a pipe: once, from front to end, one section in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from zllm.archive.coding import Decoders
from zllm.archive.embedded import in_memory
from zllm.archive.layout import facts
from zllm.archive.parts import ModelPart, SectionPart, Walk
from zllm.archive.sections import Section
from zllm.archive.view import CORRECTED, TarView
from zllm.errors import DamagedError, TruncatedError, renewed
from zllm.format import modelblock
from zllm.format.section import OPAQUE, ModelRef, SectionHeader

_PIECE = 16 << 20


class Feed:
    """A pipe with a look ahead: a source of parts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self.position = 0

    def peek(self, size: int) -> bytes:
        """See :class:`parts.Source`."""
        if size > len(self._buffer):
            self._buffer = self._buffer + self._read(size - len(self._buffer))
        return self._buffer[:size]

    def take(self, size: int) -> bytes:
        """See :class:`parts.Source`."""
        if size <= len(self._buffer):
            data, self._buffer = self._buffer[:size], self._buffer[size:]
        else:
            data, self._buffer = self._buffer, b""
            data = data + self._read(size - len(data)) if data else self._read(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See :class:`parts.Source`."""
        left = size
        while left and (data := self.take(min(left, _PIECE))):
            left -= len(data)
        return size - left

    def _read(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        parts = []
        while size > 0 and (part := self._file.read(min(size, _PIECE))):
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
        self._feed = Feed(file)
        self._walk = Walk(self._feed, self.budget)
        self._parts = self._walk.parts()
        self.warnings = self._walk.warnings
        decoders.warn = self.warnings.append
        self._current: Section | DamagedError | None = None
        self._header: SectionHeader | None = None
        self._base = 0  # of the current section
        self._end = 0
        self._passed = 0  # where the sections before the current one end: what is between is lost
        self._models: dict[ModelRef, None] = {}
        self._count = 0
        self._finished = False
        self._advance()
        if self._header is not None:
            self.opaque = bool(self._header.flags & OPAQUE)
        else:
            self.opaque = self.problem is None

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
        if offset < self._passed:
            raise OSError(29, "a pipe cannot be read backwards")
        self._position = offset
        return offset

    @property
    def end(self) -> int:
        """See :attr:`TarView.end`."""
        return self._end

    def section_at(self, position: int) -> Section | None:
        """See :meth:`TarView.section_at`."""
        while position >= self._end:
            if not self._advance():
                return None
        if self._header is not None and position < self._header.stream_offset:
            if position < self._passed:
                raise OSError(29, "a pipe cannot be read backwards")
            raise DamagedError("a section of the archive is lost")
        if isinstance(self._current, DamagedError):
            raise cast(DamagedError, renewed(self._current))
        return self._current

    def sections(self) -> Iterator[Section | DamagedError]:
        """See :meth:`TarView.sections`."""
        while self._current is not None:
            yield self._current
            if not self._advance():
                return

    def here(self) -> Iterator[Section | DamagedError]:
        """See :meth:`TarView.here`."""
        if self._current is not None:
            yield self._current

    def next_start(self, position: int) -> int | None:
        """See :meth:`TarView.next_start`."""
        while self._header is None or self._header.stream_offset <= position:
            if not self._advance():
                return None
        return self._header.stream_offset

    def next_base(self, base: int, position: int) -> int | None:
        """See :meth:`TarView.next_base`."""
        while self._base == base and position >= self._end:
            if not self._advance():
                return None
        return self._base if base < self._base <= position else None

    def drain(self) -> None:
        """See :meth:`TarView.drain`. Producers, too, like to be read to the end."""
        while self._advance():
            continue

    def _advance(self) -> bool:
        """Read the next section, if there is one more."""
        if self._finished:
            return False
        for part in self._parts:
            if isinstance(part, SectionPart):
                self._section(part)
                break
            if isinstance(part, ModelPart):
                self._model(part)
            else:
                self.manifest = {**self._walk.manifest, "models": [facts(model) for model in self._models]}
        else:
            self._finished = True
        problem = self._walk.problem
        if isinstance(problem, TruncatedError):
            self.problem = problem
        elif problem is not None:
            self.note(problem)
        return not self._finished

    def _section(self, part: SectionPart) -> None:
        self._current = None  # let go of the last one before the next comes
        header = part.placed
        blob = self._feed.take(header.map_size)
        body = memoryview(self._feed.take(header.frames_size))
        self._models.update(dict.fromkeys(header.models))
        self._passed = self._end
        self._header, self._base, self._end = header, part.base, header.stream_offset + header.stream_size
        try:
            self._current = Section(
                self._count, header, blob, lambda at, size: body[at : at + size], self.decoders, self.cache,
                part.base, self.budget,
            )  # fmt: skip
            if self._current.corrected is not None:
                self.note(DamagedError(CORRECTED))
        except DamagedError as exc:
            self._current = exc
            self.note(exc)
        self._count += 1
        if self.checked is not None:
            self.checked(self._current)

    def _model(self, part: ModelPart) -> None:
        """Keep a model, coded, for the sections that follow."""
        self._feed.skip(modelblock.HEADER_SIZE)
        coded = self._feed.take(part.block.coded_size)
        known = self.decoders.embedded.get(part.block.sha256)
        self.decoders.embedded[part.block.sha256] = in_memory(part.block, coded, known)
        if self.checked is not None:
            try:
                self.decoders.embedded[part.block.sha256].check()
            except DamagedError as exc:
                self.note(exc)
