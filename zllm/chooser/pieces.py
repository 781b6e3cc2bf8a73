"""Groups of members, and the pieces they are cut into."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from zllm.chooser.signatures import Category


@dataclass(frozen=True)
class Group:
    """Data coded together. ``cuts``: where one member ends and the next begins, ascending, without 0 and the end."""

    category: Category
    data: memoryview
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class CodedFrame:
    """One frame as it goes into the archive. ``rival``: see :func:`zllm.chooser.reasons.describe`."""

    codec_id: int
    uses_model: bool
    raw_size: int
    payload: bytes | memoryview
    reason: int
    rival: int = 0


@dataclass(frozen=True)
class Piece:
    """A part of a group, or of another piece, which it begins at ``start`` of. ``cuts``: boundaries inside it."""

    data: memoryview
    cuts: tuple[int, ...] = ()
    start: int = 0

    @property
    def end(self) -> int:
        """Where it ends in what it is a part of."""
        return self.start + len(self.data)

    def part(self, start: int, end: int) -> Piece:
        """What lies between two offsets, and the boundaries strictly inside."""
        inner = self.cuts[bisect_right(self.cuts, start) : bisect_left(self.cuts, end)]
        return Piece(self.data[start:end], tuple(cut - start for cut in inner), start)


def cut_pieces(piece: Piece, limit: int) -> list[Piece]:
    """Cut into pieces of at most ``limit`` bytes, at member boundaries where there are any.

    A member that fits into a piece stays whole as long as that leaves the piece before it at least half full:
    otherwise pieces would come out small wherever large members meet, and small frames cost ratio.
    """
    pieces = []
    start, size = 0, len(piece.data)
    while start < size:
        stop = min(start + limit, size)
        if stop < size:
            at = bisect_right(piece.cuts, stop) - 1
            if at >= 0 and (piece.cuts[at] - start) * 2 >= limit:
                stop = piece.cuts[at]
        pieces.append(piece.part(start, stop))
        start = stop
    return pieces
