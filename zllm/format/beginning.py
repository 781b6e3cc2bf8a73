"""Where an archive begins: also where its header is damaged, from which its id can be made out all the same."""

from __future__ import annotations

from typing import Protocol

from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError
from zllm.format import ends, envelope
from zllm.format.envelope import SYNC, Kind
from zllm.format.repair import Budget

_LOOK = 32 << 20
"""How far a first section is looked for, in bytes, behind a model that stands before it."""
_PARTS = 4
_PER_HEADER = 32 << 20
"""What trying all changes of a header costs, in bytes hashed."""


class Source(Protocol):
    """Bytes that are read from front to end."""

    position: int
    """Of the next byte, counted from where the first archive begins."""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end; they stay."""

    def look(self, distance: int, size: int) -> bytes:
        """``size`` bytes that are ``distance`` bytes ahead, fewer at the end; they stay."""

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end."""

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes, fewer at the end; how many they were."""


def begins(source: Source, budget: Budget) -> bool:
    """Whether an archive begins here, its header whole or not."""
    try:
        ends.read_header(source.peek(ends.HEADER_SIZE))
    except UnsupportedVersionError:
        return True
    except (DamagedError, NotZllmError):
        return recovered(source, budget) is not None
    return True


def recovered(source: Source, budget: Budget) -> bytes | None:
    """The id of the archive that begins here with a damaged header; None: there is none, or it cannot be told."""
    front = source.peek(ends.HEADER_SIZE + envelope.MAX_SIZE)
    if front[ends.HEADER_SIZE : ends.HEADER_SIZE + len(SYNC)] != SYNC or not budget.spend(1, _PER_HEADER):
        return None
    return _corrected(front) or _derived(source, budget)


def _corrected(front: bytes) -> bytes | None:
    """The id if one byte of the header is wrong, as the first part's envelope proves."""
    text = bytearray(front[: ends.HEADER_SIZE])
    for at, byte in enumerate(front[: ends.HEADER_SIZE]):
        for value in range(1, 256):
            text[at] = byte ^ value
            try:
                found = ends.read_header(bytes(text))
                if envelope.parse(front[ends.HEADER_SIZE :], envelope.seed_of(found)).sequence == 0:
                    return found
            except (DamagedError, NotZllmError, UnsupportedVersionError):
                continue
        text[at] = byte
    return None


def _derived(source: Source, budget: Budget) -> bytes | None:
    """The id from what it is made of: the body of the keys, else of the first section, else of the directory."""
    at = ends.HEADER_SIZE
    for _ in range(_PARTS):
        front = source.peek(at + envelope.MAX_SIZE)[at:]
        try:
            found = envelope.parse(front, None)
        except DamagedError:
            return None
        if at + found.whole > _LOOK or not budget.spend(1, at + found.whole):
            return None
        if found.kind in (Kind.KEYS, Kind.SECTION, Kind.DIRECTORY):
            part = source.peek(at + found.whole)[at:]
            made = envelope.id_of(found.kind, part[found.size : found.size + found.length])
            return made if len(part) == found.whole and envelope.holds(envelope.seed_of(made), part) else None
        at += found.whole
    return None
