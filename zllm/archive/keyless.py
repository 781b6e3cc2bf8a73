"""Encrypted archives as they look without a key: which parts there are, and whether their checksums hold."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from zllm.archive.layout import FileSource
from zllm.archive.mending import Mended, Mender
from zllm.archive.pipe import Feed
from zllm.archive.places import Place
from zllm.errors import DamagedError, TruncatedError, UsageError, ZllmError
from zllm.format import ends, envelope, repair, sealing
from zllm.format.envelope import Envelope, Kind
from zllm.format.found import DirectoryPart, FramesPart, SectionPart, Unfinished
from zllm.format.parts import Walk

NOT_AUTHENTICATED = (
    "the archive is encrypted and no key was given: checksums were compared, which show damage; that the contents are "
    "what was packed, and not what somebody made of them, was not checked"
)
_PIECE = 1 << 20


@dataclass
class Seen:
    """What was found. ``damaged``: numbers of parts whose checksums do not hold; ``problem``: what else is wrong.

    ``generations`` have their footers; ``slots`` are the types of those of the first keys.
    """

    parts: int = 0
    size: int = 0
    generations: int = 0
    slots: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    problem: ZllmError | None = None
    unfinished: Unfinished | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[ZllmError]:
        """All that is wrong."""
        found: list[ZllmError] = [self.problem] if self.problem is not None else []
        if self.damaged:
            many = len(self.damaged)
            which = ", ".join(map(str, self.damaged[:10])) + (", ..." if many > 10 else "")
            what = "1 part is" if many == 1 else f"{many} parts are"
            found.append(DamagedError(f"the archive is damaged: the checksums of {what} wrong (number {which})"))
        return found


class _Slots(sealing.Keyless):
    """Remembers what keys there are."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def take(self, seed: int, number: int, body: bytes) -> None:
        """See :class:`sealing.Opener`."""
        keys = sealing.unpack(body)
        if not self.slots:
            self.slots = [slot.kind for slot in keys.slots]


class _Looker:
    """Goes through an archive, and gives each part that is not taken by the walk."""

    def __init__(self, source: Feed | FileSource) -> None:
        self.source = source
        self.opener = _Slots()
        self.walk = Walk(source, repair.Budget(), opener=self.opener)
        self.seen = Seen()

    def parts(self) -> Iterator[tuple[int, Envelope, int]]:
        """Where each begins in the source, its envelope, and its seed. The receiver takes or skips it."""
        mixed = False
        for part in self.walk.parts():
            if isinstance(part, (SectionPart, FramesPart, DirectoryPart)):  # not encrypted, and not refused as first
                self.source.skip(part.size if isinstance(part, FramesPart) else 0)
                mixed = True
                continue
            self.seen.parts += 1
            yield part.offset, part.envelope, part.seed
        seen, walk = self.seen, self.walk
        seen.size, seen.generations = self.source.position - walk.rest, walk.generation
        seen.slots, seen.warnings = self.opener.slots, walk.warnings
        seen.unfinished, seen.problem = walk.unfinished, walk.problem
        if mixed and not walk.encrypted:
            raise UsageError("the archive is not encrypted: it takes no key, and everything in it can be tested")
        if seen.unfinished is not None:
            seen.problem = seen.unfinished.problem


def test(file: BinaryIO, *, seekable: bool) -> Seen:
    """Compare the checksums of all parts; of a file, from its position on.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError: as readers of archives.
    """
    look = _Looker(FileSource(file, file.tell()) if seekable else Feed(file))
    for _, own, seed in look.parts():
        look.source.skip(own.size)
        if not envelope.holds_in_pieces(seed, own, look.source.take):
            look.seen.damaged.append(own.sequence)
    return look.seen


def mend(file: BinaryIO, out: BinaryIO) -> Seen:
    """Write an encrypted archive, from its position in a file on, as parity and the checksums tell that it was: the
    same bytes in the same places. Behind the last whole part there is nothing. ``damaged`` are parts that could not be
    mended.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError: as readers of archives.
        OSError: ``out`` cannot be written.
    """
    start = file.tell()
    look = _Looker(FileSource(file, start))
    parity = []
    for offset, own, seed in look.parts():
        if own.kind == Kind.PARITY:
            parity.append(Place(start + offset, own, seed))
        look.source.skip(own.whole)
    mender = Mender(file, start, parity, look.walk.warnings.append)
    mender.mend()
    mended = Mended(mender.file)
    look = _Looker(FileSource(mender.file, start))
    budget, end, first = repair.Budget(), 0, None
    for offset, own, seed in look.parts():
        part = look.source.take(own.whole)
        front, rest = own.pack(seed), part[own.size :]
        if len(part) < own.whole:
            look.seen.damaged.append(own.sequence)
            continue
        first = seed if first is None else first
        if not envelope.holds(seed, front + rest):
            fixed = repair.body(front, rest, seed, budget)
            if fixed is None:
                look.seen.damaged.append(own.sequence)
                continue
            rest = fixed
        if front + rest != part:
            mended.patch(start + offset, front + rest)
        end = offset + own.whole
    size = end if isinstance(look.seen.problem, TruncatedError) else look.seen.size
    _copy(mended, start, out, size if look.seen.unfinished is None else look.seen.unfinished.offset, first)
    return look.seen


def _copy(mended: Mended, start: int, out: BinaryIO, size: int, seed: int | None) -> None:
    """The bytes of an archive, its header as it should be."""
    header = ends.HEADER_SIZE
    mended.seek(start)
    found = mended.read(header)
    if seed is not None:
        found = ends.pack_header(seed.to_bytes(envelope.ID_SIZE, "little"))
    out.write(found)
    mended.seek(start + header, io.SEEK_SET)
    left = size - header
    while left > 0 and (piece := mended.read(min(left, _PIECE))):
        out.write(piece)
        left -= len(piece)
