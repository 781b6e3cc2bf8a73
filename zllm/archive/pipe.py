"""Reading an archive from a pipe: once, from front to end, one section in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from zllm.archive.coding import Decoders
from zllm.archive.embedded import in_memory, match
from zllm.archive.generations import MADE_UP, Generation, members_of
from zllm.archive.layout import facts
from zllm.archive.places import missing
from zllm.archive.sections import Origin, Section
from zllm.archive.view import TarView
from zllm.errors import DamagedError, TruncatedError, UnsupportedVersionError, renewed
from zllm.format import ends, envelope
from zllm.format.found import DirectoryPart, FramePart, FramesPart, ModelPart, OtherPart, Part, SectionPart
from zllm.format.frames import FrameRow
from zllm.format.limits import DEFAULT, Limits
from zllm.format.names import plain
from zllm.format.parts import UNUSED, Walk
from zllm.format.sealing import LOCKED, Opener
from zllm.format.section import OPAQUE, ModelRef, SectionHeader

_PIECE = 16 << 20
_GONE = (
    "members that have come were deleted later, which a pipe cannot know beforehand: read the archive from a file to "
    "have it without them"
)


class Feed:
    """A pipe with a look ahead: a source of parts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = bytearray()
        self.position = 0

    def peek(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        return self.look(0, size)

    def look(self, distance: int, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        missing = distance + size - len(self._buffer)
        if missing > 0:
            self._buffer += self._read(missing)
        return bytes(memoryview(self._buffer)[distance : distance + size])

    def take(self, size: int) -> bytes:
        """See :class:`beginning.Source`."""
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]  # costs nothing, however long the rest is
        if size > len(data):
            rest = self._read(size - len(data))
            data = data + rest if data else rest
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See :class:`beginning.Source`."""
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

    ``generation``: the number of the last one to be read; None: all are.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged.
        UnsupportedVersionError: a version or a feature that this program does not read.
        LockedError: it is encrypted, and ``opener`` does not have its key.
    """

    def __init__(
        self,
        file: BinaryIO,
        decoders: Decoders,
        limits: Limits = DEFAULT,
        generation: int | None = None,
        opener: Opener = LOCKED,
    ) -> None:
        super().__init__(decoders)
        self._limits = limits
        self._opener = opener
        self._feed = Feed(file)
        self._walk = Walk(self._feed, self.budget, limits, opener)
        self._parts = self._walk.parts()
        self._held: Part | None = None  # came behind the frames of the current section
        self.warnings = self._walk.warnings
        decoders.warn = self.warnings.append
        self._current: Section | DamagedError | None = None
        self._header: SectionHeader | None = None
        self._base = 0  # of the current section
        self._end = 0
        self._passed = 0  # where the sections before the current one end: what is between is lost
        self._last = generation
        self._names: set[bytes] = set()  # of the members of a later generation, until its directory comes
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
        self._finished = True
        while (part := self._next_part()) is not None:
            if isinstance(part, SectionPart):
                self._section(part)
                self._finished = False
                break
            if isinstance(part, DirectoryPart):
                self.manifest = {**self._walk.manifest, "models": [facts(model) for model in self._models]}
                self._generation(part)
                if part.directory.generation == self._last:
                    self._last, self._parts = None, iter(())
                    self._feed.skip(1 << 62)
            elif isinstance(part, ModelPart):
                self._model(part)
            elif isinstance(part, FramesPart):
                self._feed.skip(part.size)
            else:
                self._other(part)
        if self._finished and self._last is not None:
            self.note(missing(self._last, len(self.generations) - 1))
        problem = self._walk.problem
        if isinstance(problem, TruncatedError):
            self.problem = problem
        elif problem is not None:
            self.note(problem)
        return not self._finished

    def _generation(self, part: DirectoryPart) -> None:
        """A generation is complete."""
        found, end = part.directory, ends.footer_end(part.offset, part.envelope)
        begins = self.generations[-1].end if self.generations else 0
        if len(found.deleted) > sum(one.members for one in self.generations if one.base == part.base):
            self.note(DamagedError(MADE_UP))
        elif any(name not in self._names for name in found.deleted):
            self.note(UnsupportedVersionError(_GONE))
        self._names.clear()
        self.generations.append(Generation(
            found.generation, found.time, members_of(found), len(found.deleted), begins, end, part.since, self._end,
            part.base,
        ))  # fmt: skip

    def _next_part(self) -> Part | None:
        part, self._held = self._held, None
        return part if part is not None else next(self._parts, None)

    def _section(self, part: SectionPart) -> None:
        self._current = None  # let go of the last one before the next comes
        header = part.placed
        if self._walk.generation:
            self._names.update(plain(record.name) for record in part.map.records if record.headers)
        self._models.update(dict.fromkeys(header.models))
        match(self.decoders.embedded, header.models)
        self._passed = self._end
        self._header, self._base, self._end = header, part.base, header.stream_end
        frames = [frame for group in part.map.groups for frame in group.frames]
        origin = Origin(part.seed, part.base, self.note, self.budget, opener=self._opener)
        fetch = self._frames(part, len(frames))
        self._current = Section(self._count, header, part.map, origin, fetch, self.decoders, self.cache, self._limits)
        self._count += 1
        if self.checked is not None:
            self.checked(self._current)

    def _frames(self, part: SectionPart, count: int) -> Callable[[FrameRow, int], memoryview]:
        """Take the frames of a section: those with the numbers behind its own."""
        found = self._next_part() if count else None
        if isinstance(found, FramesPart):
            body = memoryview(self._feed.take(found.size))
            return lambda row, offset: body[offset : offset + row.coded_size]
        last = part.envelope.sequence + count
        sizes = {row.sequence: row.coded_size for group in part.map.groups for row in group.frames}
        bodies: dict[int, memoryview] = {}
        while isinstance(found, FramePart) and found.envelope.sequence <= last and found.seed == part.seed:
            own = found.envelope
            if own.whole == sizes.get(own.sequence):
                bodies[own.sequence] = memoryview(self._feed.take(own.whole))
            else:  # not the one that the map says: it is not kept
                self._feed.skip(own.whole)
            found = self._next_part() if own.sequence < last else None
        self._held = found
        return lambda row, _: bodies.get(row.sequence, memoryview(b""))

    def _other(self, part: OtherPart) -> None:
        """Pass over a part, a frame of a section that is lost among them."""
        if self.checked is None or isinstance(part, FramePart):
            self._feed.skip(part.envelope.whole)
        else:
            self._feed.skip(part.envelope.size)
            if not envelope.holds_in_pieces(part.seed, part.envelope, self._feed.take):
                self.note(DamagedError(UNUSED))

    def _model(self, part: ModelPart) -> None:
        """Keep a model, coded, for the sections that follow."""
        data = self._feed.take(part.envelope.whole)
        embedded, sha256 = self.decoders.embedded, part.model.sha256
        embedded[sha256] = in_memory(
            data, part.envelope, part.seed, embedded.get(sha256), self._limits, self._opener
        )
        if self.checked is not None:
            try:
                embedded[sha256].check()
            except DamagedError as exc:
                self.note(exc)
