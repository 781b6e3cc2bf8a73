"""The tar stream of an archive as a file: headers from the maps, data decoded when it is read."""

from __future__ import annotations

import io
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from zllm.archive.coding import Decoders
from zllm.archive.generations import Generation
from zllm.archive.hashing import Hasher
from zllm.archive.readinto import ReadInto
from zllm.archive.sections import FrameCache, Section
from zllm.errors import BrokenTarError, DamagedError, MissingCodecError, ZllmError, renewed, worse
from zllm.format.repair import Budget

_TOLD = 20
ENDS_INSIDE = "unexpected end of data: the tar stream ends inside this member"


class TarView(ReadInto, io.RawIOBase):
    """What both readers share. Positions are bytes of the tar stream.

    Reading raises DamagedError, MissingCodecError or MissingModelError if a frame cannot be decoded, and DamagedError
    if a member that was read from front to end does not have its SHA-256.
    """

    def __init__(self, decoders: Decoders) -> None:
        super().__init__()
        self.decoders = decoders
        self.cache = FrameCache()
        self.everything = False
        """Everything will be read: frames of a section are decoded together at once."""
        self.expected: int | None = None
        """Where data begins that will be read to its member's end: its first frames are decoded together."""
        self.strict = False
        """A read that asks for more than the archive's tar stream has is an error: its member is cut off."""
        self.checked: Callable[[Section | ZllmError], None] | None = None
        """Told of each section of a pipe, and why one cannot be read, as they come."""
        self.budget = Budget()
        self.problem: ZllmError | None = None
        """What is wrong with the archive as a whole, found so far."""
        self.broken: list[BrokenTarError] = []
        """Where the tar stream was broken before it was packed."""
        self.warnings: list[str] = []
        self.manifest: dict[str, Any] = {}
        """Empty where the index is lost or has not been read."""
        self.opaque = False
        """The stream is not a tar."""
        self.lock = threading.RLock()
        """Held between a seek and the read after it, so that several threads can read members of one archive."""
        self.generations: list[Generation] = []
        """As far as they are known: of a pipe, those that have ended."""
        self._hasher = Hasher()
        self._position = 0
        self._limit: int | None = None
        self.own: BinaryIO | None = None
        """A file that is closed with the view."""

    def hides(self, name: str, position: int) -> bool:
        """Whether the member of that name which begins at ``position`` was deleted later. A pipe cannot know."""
        return False

    def close(self) -> None:
        """Nothing is read any more."""
        super().close()
        if self.own is not None:
            self.own.close()

    @abstractmethod
    def section_at(self, position: int) -> Section | None:
        """The section with that byte; None after the end.

        Raises:
            DamagedError: it cannot be read, or is lost.
        """

    @abstractmethod
    def sections(self) -> Iterator[Section | DamagedError]:
        """All sections, or why one cannot be read; of a pipe, those that are left."""

    def here(self) -> Iterator[Section | DamagedError]:
        """Of a pipe, the section that has been read already, or why it cannot be read."""
        return iter(())

    @abstractmethod
    def next_start(self, position: int) -> int | None:
        """Where the first section begins that begins after ``position``; None: there is none."""

    @abstractmethod
    def next_base(self, base: int, position: int) -> int | None:
        """Where the stream of the archive begins that follows the one whose stream begins at ``base``.

        None if that is behind ``position``, or if there is no other.
        """

    @property
    @abstractmethod
    def end(self) -> int:
        """The stream's end; of a pipe, as far as it has been read."""

    @property
    def problems(self) -> list[ZllmError]:
        """All that is wrong with the archive or its tar stream, the worst first."""
        return [*([self.problem] if self.problem is not None else []), *self.broken]

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged. What is told: :func:`zllm.errors.worse`."""
        self.problem = worse(self.problem, problem)

    def note_broken(self, text: str, member: str | None = None) -> None:
        """The tar stream is broken, or one of its members is."""
        told = f"{member}: {text}" if member else text
        if len(self.broken) > _TOLD or any(told == str(error) for error in self.broken):  # read once more
            return
        if len(self.broken) == _TOLD:
            told, member = "and so on: the tar stream is broken in more places", None
        self.broken.append(BrokenTarError(told, member=member))

    def warn(self, text: str) -> None:
        """Something was passed over, without harm; told once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def drain(self) -> None:
        """Read on to the archive's end: what is wrong there is wrong with the archive."""

    @property
    def verified(self) -> int:
        """Where the data of the last member begins that was read whole and proved right."""
        return self._hasher.verified

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, all that is left if it is negative. Fewer at the end, and before what cannot be read.

        Raises:
            BrokenTarError: the view is strict, and the tar stream ends before.
            DamagedError: all that is left was wanted, and something of the archive is damaged.
        """
        pieces: list[bytes] = []
        left = -1 if size is None or size < 0 else size
        self._limit = None
        while left:
            try:
                piece = self._piece(left if left > 0 else 1 << 20)
            except ZllmError:
                if not pieces or self.strict or left < 0:
                    raise
                break  # the next read says it
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        if left < 0 and self.problem is not None:  # this is the last chance to tell
            raise renewed(self.problem)
        if left > 0 and self.strict:
            raise DamagedError("the archive ends inside this member") if self.problem else BrokenTarError(ENDS_INSIDE)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        """Some bytes at the position, at least one before the end."""
        section = self.section_at(self._position)
        if section is None:
            return b""
        if self._limit is None:
            self._limit = section.base
        elif self.strict and self._limit != section.base:  # another archive's stream
            return b""
        if self.everything:
            section.load_all()
        place = section.layout.place(self._position - section.header.stream_offset)
        record = section.layout.records[place.record]
        offset = place.offset
        if offset < (front := record.header_size):
            piece = record.header[offset : offset + size]
        elif offset < front + record.data_size:
            offset -= front
            if self._position == self.expected:
                section.expect(place.record)
            piece = self._data(section, place.record, offset, min(size, record.data_size - offset))
        else:
            piece = bytes(min(size, record.size - offset))
        self._position += len(piece)
        return piece

    def _data(self, section: Section, number: int, offset: int, size: int) -> bytes:
        try:
            hashed = self._hasher.follows(section, number, offset)
            data = section.read(number, offset, size, hashed=hashed)
            if self.cache.lenient:
                return data
            with self.decoders.run.stage("hashing", len(data)):
                self._hasher.take(section, number, offset, data)
        except ZllmError as exc:
            raise _named(exc, section.layout.records[number].name) from exc
        return data


def _named(exc: ZllmError, member: str) -> ZllmError:
    """The same error for a member: what is wrong with a frame is wrong with every member in it."""
    if isinstance(exc, DamagedError):
        return type(exc)(f"{member}: {exc}" if member else str(exc), member=member or None)
    if isinstance(exc, MissingCodecError):
        return MissingCodecError(exc.codec_id, member=member or None)
    return renewed(exc)
