"""Generations: what an archive was when it was made, and after each change since; and names that were deleted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from zllm.errors import DamagedError
from zllm.format.directory import Directory
from zllm.format.names import plain

MADE_UP = "the directory is damaged: it deletes more members than there are"


@dataclass(frozen=True)
class Generation:
    """``time`` is when it was written, in seconds since 1970, 0 if that is not known.

    ``members`` begin in it, ``deleted`` names are hidden by it. It takes the bytes from ``start`` to ``end`` of the
    file, and from ``stream_start`` to ``stream_end`` of all archives' tar stream. ``base``: where the stream of its own
    archive begins.
    """

    number: int
    time: int
    members: int
    deleted: int
    start: int
    end: int
    stream_start: int
    stream_end: int
    base: int = 0

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.end - self.start


def members_of(found: Directory) -> int:
    """How many members begin in the generation of a directory."""
    return sum(row.members for row in found.rows)


class Deletions:
    """Which members are hidden, since their names were deleted by a later generation of their archive."""

    def __init__(self) -> None:
        # By where the stream of an archive begins, by name: where the last generation begins that deletes it.
        self._by_base: dict[int, dict[bytes, int]] = {}
        self._bases: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._bases)

    def add(self, base: int, start: int, names: Iterable[bytes], most: int) -> None:
        """Names that a generation deletes which begins at ``start`` of the stream, and its archive at ``base``.

        Raises:
            DamagedError: they are more than ``most``, the members that there were: they are made up.
        """
        known = self._by_base.get(base, {})
        for name in names:
            known[name] = start
            if len(known) > most:
                raise DamagedError(MADE_UP)
        if known and base not in self._by_base:
            self._by_base[base] = known
            self._bases = sorted(self._by_base)

    def hide(self, name: str, position: int) -> bool:
        """Whether a member of that name which begins at ``position`` of the stream is hidden."""
        number = bisect_right(self._bases, position) - 1
        return number >= 0 and position < self._by_base[self._bases[number]].get(plain(name), 0)
