"""What would the model make of this? Asked of a few windows, before it is let loose on megabytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from zllm.chooser.pieces import Piece
from zllm.codecs.base import Codec, Run

# Below this, coding all of it costs little more than a probe.
MIN_PROBED = 64 << 10
_WINDOW = 4 << 10
# A window starts cold, a frame does not: what its first KiB costs is taken off, by coding that KiB alone as well.
_HEAD = 1 << 10
_MIN_WINDOWS = 2
_MAX_WINDOWS = 8
_BYTES_PER_WINDOW = 32 << 10


@dataclass(frozen=True)
class _Window:
    start: int
    whole: int
    head: int


def estimate(pieces: Sequence[Piece], llm: Codec, run: Run) -> list[float | None]:
    """Estimated coded bytes per byte of each piece; None for pieces too small to be worth asking.

    All windows of all pieces go through one batch, where the model is fastest.
    """
    items: list[tuple[memoryview, tuple[int, ...]]] = []
    windows: list[list[_Window]] = []
    for piece in pieces:
        mine = []
        for start in _starts(len(piece.data)):
            mine.append(_Window(start, len(items), len(items) + 1))
            items.append(_cut(piece, start, start + _WINDOW))
            items.append(_cut(piece, start, start + _HEAD))
        windows.append(mine)
    if not items:
        return [None] * len(pieces)
    sizes = [len(payload) for payload in llm.encode_batch(items, run)]
    return [_mean([sizes[w.whole] - sizes[w.head] for w in mine]) if mine else None for mine in windows]


def _mean(costs: list[int]) -> float:
    return max(0, sum(costs)) / (len(costs) * (_WINDOW - _HEAD))


def _starts(size: int) -> list[int]:
    """Where the windows begin: evenly spread, always the same for the same size."""
    if size < MIN_PROBED:
        return []
    count = min(max(size // _BYTES_PER_WINDOW, _MIN_WINDOWS), _MAX_WINDOWS)
    return [(2 * index + 1) * (size - _WINDOW) // (2 * count) for index in range(count)]


def _cut(piece: Piece, start: int, end: int) -> tuple[memoryview, tuple[int, ...]]:
    inner = piece.cuts[bisect_right(piece.cuts, start) : bisect_left(piece.cuts, end)]
    return piece.data[start:end], tuple(cut - start for cut in inner)
