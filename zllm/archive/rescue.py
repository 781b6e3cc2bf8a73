"""What can be had of a damaged frame: all of it if one bit is wrong, else the members that are provably whole.

Nothing is believed because it decodes. What a correction or a damaged payload gives is proved by the hash of the
frame's data, or member by member by the SHA-256 of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from zllm.archive.sectionlayout import SectionLayout
from zllm.codecs.base import Codec, Run
from zllm.errors import DamagedError, ZllmError
from zllm.format import envelope, frames, repair
from zllm.format.sealing import Opener
from zllm.format.sectionmap import run_hash

CORRECTED = "one byte of a frame was wrong and is corrected, nothing is lost"
TRIED = "one byte of a frame was wrong and is corrected, as far as members that are read whole prove it"
WHOLE = "a frame is damaged, but all members in it are whole: nothing is lost"
_MOST_TRIES = 4
"""Corrections of one frame that are decoded: nearly always there is one, or none."""
_PER_HASHED = 32
"""What SHA-256 of a byte costs, in bytes of a fast hash (:class:`repair.Budget`)."""


class Section(Protocol):
    """What of a :class:`zllm.archive.sections.Section` is needed here."""

    layout: SectionLayout
    seed: int
    budget: repair.Budget
    opener: Opener
    trial: dict[int, bytes]
    fixed: dict[int, bytes]

    @property
    def run(self) -> Run:
        """How frames are decoded."""

    def note(self, problem: ZllmError, /) -> None:
        """The archive is damaged."""

    def spans(self, number: int) -> bool:
        """Whether a record's member has data in other sections, too."""

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Some of a record's data."""


@dataclass(frozen=True)
class Salvaged:
    """What a damaged frame gave: ``data`` with zeros where there was nothing, of which the data of the records ``good``
    is proved. That of ``open_`` can be proved only by reading a member that spans sections to its end.
    """

    data: bytes
    problem: DamagedError
    good: frozenset[int] = frozenset()
    open_: frozenset[int] = frozenset()


@dataclass
class _Verdict:
    good: set[int]
    bad: set[int]
    unknown: set[int]


def rescue(
    section: Section, frame: int, part: memoryview, decoder: Codec, problem: DamagedError
) -> bytes | Salvaged | DamagedError:
    """The data of a frame whose checksum does not hold, or as much of it as can be proved; ``part``: its bytes, all
    that there are.
    """
    row = section.layout.frames[frame]
    if row.sealed:
        return _sealed(section, frame, part, decoder, problem)
    front = row.envelope.pack(section.seed) + row.front()
    if len(part) <= len(front):
        return problem
    maybe: Salvaged | None = None
    for data, payload in _corrected(section, frame, part, decoder, front):
        verdict = _judged(section, frame, data)
        if verdict.bad:
            continue
        if not verdict.unknown:
            section.note(DamagedError(CORRECTED))
            section.fixed[frame] = payload
            return data
        good, unknown = frozenset(verdict.good), frozenset(verdict.unknown)
        maybe = maybe or Salvaged(data, problem, good, frozenset(filter(section.spans, unknown)))
    if maybe is not None:
        section.note(DamagedError(TRIED))
        return maybe
    row_end = len(front) + row.payload_size
    data = decoder.salvage(part[len(front) : row_end], row.raw_size, section.layout.boundaries(frame))
    data = data[: row.raw_size].ljust(row.raw_size, b"\0")
    verdict = _judged(section, frame, data)
    if not verdict.bad and not verdict.unknown:  # then no member will tell
        section.note(DamagedError(WHOLE))
    return Salvaged(data, problem, frozenset(verdict.good))


def _sealed(
    section: Section, frame: int, part: memoryview, decoder: Codec, problem: DamagedError
) -> bytes | DamagedError:
    """As :func:`rescue`, of an encrypted frame: all of it if one byte is wrong, which its tag proves, or nothing."""
    row = section.layout.frames[frame]
    own = row.envelope
    front = own.pack(section.seed)
    if len(part) != own.whole:
        return problem
    boundaries = section.layout.boundaries(frame)
    for body in islice(repair.bodies(front, part[len(front) :], section.seed, section.budget), _MOST_TRIES):
        try:
            opened = section.opener.open(section.seed, own, body[: -envelope.CHECK_SIZE])
            payload = frames.payload_in(opened, row)
            (data,) = decoder.decode_batch([(payload, row.raw_size, boundaries)], section.run.quiet())
        except ZllmError:
            continue
        if len(data) == row.raw_size and not (row.sha256 and frames.hash_of(data) != row.sha256):
            section.note(DamagedError(CORRECTED))
            section.fixed[frame] = bytes(payload)
            return data
    return problem


def _corrected(
    section: Section, frame: int, part: memoryview, decoder: Codec, front: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """What the frame's data may be, and its payload, if one byte is wrong."""
    row = section.layout.frames[frame]
    if len(part) != row.coded_size:
        return
    boundaries = section.layout.boundaries(frame)
    for body in islice(repair.bodies(front, part[len(front) :], section.seed, section.budget), _MOST_TRIES):
        item = memoryview(body)[: row.payload_size], row.raw_size, boundaries
        try:
            (data,) = decoder.decode_batch([item], section.run.quiet())
        except ZllmError:
            continue
        if len(data) == row.raw_size:
            yield data, bytes(item[0])


def _judged(section: Section, frame: int, data: bytes) -> _Verdict:
    """Which records with data in the frame are right, if ``data`` is the frame's."""
    numbers = section.layout.records_in(frame)
    sha256 = section.layout.frames[frame].sha256
    if sha256 and frames.hash_of(data) == sha256:
        return _Verdict(set(numbers), set(), set())
    verdict = _Verdict(set(), set(), set())
    layout = section.layout
    runs = [(begin, end) for begin, end, known in layout.runs(frame) if run_hash(data[begin:end]) == known]
    section.trial[frame] = data
    try:
        for number in numbers:
            begin, end = layout.piece(number, frame)
            proved = any(run[0] <= begin and end <= run[1] for run in runs) or _proved(section, number)
            where = verdict.unknown if proved is None else verdict.good if proved else verdict.bad
            where.add(number)
    finally:
        del section.trial[frame]
    if sha256:  # the frame's own says that something in it is wrong
        verdict.bad |= verdict.unknown
    return verdict


def _proved(section: Section, number: int) -> bool | None:
    """Whether a record's data has its SHA-256; None: it has none, or it is not known here."""
    record = section.layout.records[number]
    if not record.sha256 or section.spans(number):
        return None
    if not section.budget.spend(1, record.data_size * _PER_HASHED):
        return None
    try:
        data = section.read(number, 0, record.data_size)
    except ZllmError:
        return False
    return hashlib.sha256(data).digest() == record.sha256
