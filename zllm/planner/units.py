"""Groups of members, and the pieces they are cut into."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zllm.format.category import Category
from zllm.planner.levels import Level
from zllm.planner.reasons import Reason

FRAME_COST = 24
"""Bytes that a frame more costs: a header in the file and a row in the map."""

_WHOLE, _MOST = 4, 16 << 20
"""Times as large are frames of a codec that wants members whole, and the most bytes of one: it unpacks in memory."""


@dataclass(frozen=True)
class Group:
    """Data coded together. ``boundaries``: where members begin in it, ascending, without 0."""

    category: Category
    data: memoryview
    boundaries: tuple[int, ...] = ()


@dataclass(frozen=True)
class CodedFrame:
    """One frame as it goes into the archive. ``model``: number of the planner's model that it needs, from 1; or 0."""

    codec_id: int
    model: int
    raw_size: int
    payload: bytes | memoryview
    choice: Reason

    @property
    def reason(self) -> int:
        """The code of the choice, for the section map."""
        return self.choice.code

    @property
    def rival(self) -> int:
        """What the best other codec took, for the section map: thousandths of a bit per byte."""
        return self.choice.size

    def because(self, choice: Reason) -> CodedFrame:
        """The same frame for another reason."""
        return replace(self, choice=choice)


@dataclass(frozen=True)
class Piece:
    """A part of a group, or of another piece, which it begins at ``start`` of. ``boundaries``: boundaries inside it."""

    data: memoryview
    boundaries: tuple[int, ...] = ()
    start: int = 0

    @property
    def end(self) -> int:
        """Where it ends in what it is a part of."""
        return self.start + len(self.data)

    def part(self, start: int, end: int) -> Piece:
        """What lies between two offsets, and the boundaries strictly inside."""
        inner = self.boundaries[bisect_right(self.boundaries, start) : bisect_left(self.boundaries, end)]
        return Piece(self.data[start:end], tuple(boundary - start for boundary in inner), start)


def cut_pieces(piece: Piece, limit: int) -> list[Piece]:
    """Cut into pieces of at most ``limit`` bytes, about equal: a short last one would learn all anew from little.

    A piece ends at the member boundary that is nearest to an equal share. If there is none within the limit that leaves
    the piece at least half full, it ends inside a member: small frames cost ratio.
    """
    pieces = []
    start, size = 0, len(piece.data)
    while start < size:
        stop = _stop(piece, start, limit)
        pieces.append(piece.part(start, stop))
        start = stop
    return pieces


def _stop(piece: Piece, start: int, limit: int) -> int:
    """Where the piece that starts there ends."""
    left = len(piece.data) - start
    if left <= limit:
        return start + left
    share = start + -(-left // -(-left // limit))
    after = bisect_right(piece.boundaries, share)
    near = [
        boundary
        for boundary in piece.boundaries[max(0, after - 1) : after + 1]
        if limit <= 2 * (boundary - start) <= 2 * limit
    ]
    return min(near, key=lambda boundary: abs(boundary - share), default=share)


def frame_size(piece: Piece, level: Level, *, whole: bool = False) -> int:
    """Bytes of the adaptive codecs' frames, at most: they learn from what a frame has, and a reader of one member
    decodes all of its frame. A member that has its frames alone loses nothing by large ones. ``whole``: see
    :class:`zllm.codecs.base.Codec`."""
    alone = min(_MOST, level.alone_frame * _WHOLE) if whole else level.alone_frame
    return level.shared_frame if piece.boundaries else alone


def cost_of(frames: Sequence[CodedFrame]) -> int:
    """Bytes of the frames of one unit, headers of all but one included."""
    return sum(len(frame.payload) for frame in frames) + FRAME_COST * (len(frames) - 1)
