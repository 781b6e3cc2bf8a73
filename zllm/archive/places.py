"""Where the parts of an archive are in a file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Protocol

from zllm.archive.generations import Deletions, Generation
from zllm.errors import AuthenticationError, UsageError, ZllmError, worse
from zllm.format import modelpart, repair, sealing, section
from zllm.format.envelope import Envelope
from zllm.format.limits import DEFAULT, Limits
from zllm.format.names import NameFilter
from zllm.format.sectionmap import SectionMap


@dataclass(frozen=True)
class Place:
    """A part of the archive: ``offset`` is the place of its envelope in the file."""

    offset: int
    envelope: Envelope
    seed: int


@dataclass(frozen=True)
class Row(Place):
    """A section. ``header`` has its place in all archives' stream.

    ``base`` is where the stream of its own archive begins. ``frames`` are the places of its frames by their sequence
    numbers, if they had to be looked for; else ``frame_count`` of them follow the section, ``frames_size``
    bytes in all. ``map``: the section's, if it had to be read and is the only one. ``corrected``: the bytes of its map,
    if one was wrong. ``names``: of members, if the archive has a filter.
    """

    members: int
    header: section.SectionHeader
    base: int = 0
    frames: dict[int, int] | None = None
    frame_count: int = 0
    frames_size: int = 0
    map: SectionMap | None = None
    corrected: bytes = b""
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
        return self.envelope.pack(self.seed) + self.header_bytes

    @property
    def header_bytes(self) -> bytes:
        """The header as it should stand in the body."""
        return section.pack(replace(self.header, stream_offset=self.header.stream_offset - self.base))


class Mender(Protocol):
    """What mends a file by parity (:class:`zllm.archive.mending.Mender`)."""

    file: BinaryIO
    """As it is mended so far."""

    def mend(self, at: int | None = None) -> bool:
        """Mend what is damaged around a byte of the file, or anywhere; whether anything was."""


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
    generations: list[Generation] = field(default_factory=list)
    """Those whose directories were found, the oldest first."""
    deletions: Deletions = field(default_factory=Deletions)
    unfinished: int = 0
    """Bytes behind the last footer of a generation that was never finished: they are passed over."""
    rest: int = 0
    """Bytes behind the archive that are not part of it."""
    warnings: list[str] = field(default_factory=list)
    problem: ZllmError | None = None
    budget: repair.Budget = field(default_factory=repair.Budget)
    limits: Limits = DEFAULT
    walked: bool = False
    """Made by going from part to part."""
    opener: sealing.Opener = sealing.LOCKED
    """Of encrypted parts."""
    mender: Mender | None = None
    """Of what parity covers, if the archive has some; then the file is read through it."""

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged."""
        self.problem = worse(self.problem, problem)


def missing(number: int, last: int) -> UsageError:
    """The error for a generation that is not there; ``last`` is the number of the last one."""
    return UsageError(f"there is no generation {number}: the archive has {last + 1}, from 0 to {last}")


def read_model(
    file: BinaryIO, place: Place, limits: Limits = DEFAULT, opener: sealing.Opener = sealing.LOCKED
) -> modelpart.ModelFile:
    """What a model part says before the model.

    Raises:
        DamagedError: it contradicts itself or a limit.
        AuthenticationError: it is not what was encrypted.
        UnsupportedVersionError: it is coded in a way that this version does not have.
    """
    file.seek(place.offset + place.envelope.size)
    front = file.read(modelpart.beginning(place.envelope))
    try:
        return modelpart.read_beginning(front, place.envelope, place.seed, limits, opener)
    except AuthenticationError:
        file.seek(place.offset + place.envelope.size)
        rest = file.read(place.envelope.whole - place.envelope.size)
        return modelpart.read_corrected(rest, place.envelope, place.seed, limits, opener)
