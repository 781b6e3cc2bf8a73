"""What a walk through an archive finds: parts of each kind, and which of them this program does not read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zllm.errors import AuthenticationError, UnsupportedVersionError, ZllmError
from zllm.format import directory, envelope, modelpart, section
from zllm.format.envelope import Envelope, Kind
from zllm.format.sealing import MIXED, OPEN_KINDS, SEALED_ALONE, is_sealed
from zllm.format.sectionmap import SectionMap

USED = frozenset({Kind.SECTION, Kind.FRAME, Kind.MODEL, Kind.DIRECTORY, Kind.FOOTER, Kind.KEYS})
"""Kinds of parts that this program uses."""


Facts = tuple[int, section.SectionHeader, Envelope, int, int]
"""Of a section: members, header, envelope, frames and their bytes."""


@dataclass(frozen=True)
class SectionPart:
    """A section, which was taken whole: its header, and its map, whose checksum holds. Frames follow.

    ``header`` is as it stands in the archive; its stream begins at ``base`` of all archives' stream. ``offset`` is
    where the envelope begins in the source, ``seed`` that of its archive. ``corrected``: the map's bytes, if one was
    wrong.
    """

    offset: int
    envelope: Envelope
    seed: int
    base: int
    header: section.SectionHeader
    map: SectionMap
    corrected: bytes = b""

    @property
    def placed(self) -> section.SectionHeader:
        """The header with its place in all archives' stream."""
        return replace(self.header, stream_offset=self.base + self.header.stream_offset) if self.base else self.header

    def facts(self) -> Facts:
        """What a directory has of a section."""
        return self.map.members(), self.header, self.envelope, *frames_of(self.map)


@dataclass(frozen=True)
class FramesPart:
    """All ``count`` frames of the section before, at their places: the receiver takes or skips ``size`` bytes.

    They were not looked at: the map says all that stands before each payload.
    """

    offset: int
    count: int
    size: int


@dataclass(frozen=True)
class OtherPart:
    """A part that was not taken: the receiver takes or skips ``envelope.whole`` bytes."""

    offset: int
    envelope: Envelope
    seed: int


@dataclass(frozen=True)
class FramePart(OtherPart):
    """A frame that had to be looked for, for the frames are not as the map says, or what follows them is damaged.

    It belongs to the last section before it if its number is among those of that section's frames.
    """


@dataclass(frozen=True)
class ModelPart(OtherPart):
    """A model. What its body says is not proved before the part's checksum is compared."""

    model: modelpart.ModelFile


@dataclass(frozen=True)
class DirectoryPart:
    """A directory, which was taken whole, and whose checksum holds.

    Its archive begins at ``start`` of the source and ``base`` of the stream. ``exact``: it names the sections of its
    generation that were found, and no other. ``since``: where in the stream its generation begins.
    """

    offset: int
    envelope: Envelope
    seed: int
    start: int
    base: int
    directory: directory.Directory
    exact: bool
    since: int = 0


@dataclass(frozen=True)
class Unfinished:
    """A generation that ends before its footer: where in the source it begins, behind the last footer, how many bytes
    it has, and what was wrong before it.
    """

    offset: int
    size: int
    problem: ZllmError | None


Part = SectionPart | FramesPart | FramePart | ModelPart | OtherPart | DirectoryPart


def frames_of(chart: SectionMap) -> tuple[int, int]:
    """How many frames a section has, and how many bytes they take."""
    rows = [frame for group in chart.groups for frame in group.frames]
    return len(rows), sum(row.coded_size for row in rows)


def refusal(found: Envelope, *, sealed: bool = False) -> ZllmError | None:
    """Why this program does not read the part, if the archive must not be read without it. ``sealed``: it is of an
    encrypted archive.
    """
    if sealed != is_sealed(found) and not (sealed and found.kind in OPEN_KINDS):
        return AuthenticationError(MIXED) if sealed else UnsupportedVersionError(SEALED_ALONE)
    if found.kind == Kind.KEYS and not sealed:
        return UnsupportedVersionError(SEALED_ALONE)
    if found.flags & envelope.REJECT & ~envelope.SEALED:
        bits = found.flags & envelope.REJECT & ~envelope.SEALED
        return UnsupportedVersionError(f"a part needs features (bits {bits:#x}) that this version does not have")
    if found.kind not in USED and not found.may_be_skipped:
        return UnsupportedVersionError(f"the archive has parts of kind {found.kind}, which this version does not know")
    return None
