"""What would the model make of this? Asked of a few windows, before it is let loose on megabytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zllm.chooser.pieces import Piece
from zllm.codecs.base import Codec, Run
from zllm.stats import Stats

# Below this, coding all of it costs little more than a probe.
MIN_PROBED = 64 << 10
_WINDOW = 4 << 10
# A window starts cold, a frame does not: what its first KiB costs is taken off, by coding that KiB alone as well.
_HEAD = 1 << 10
_MIN_WINDOWS = 2
MAX_WINDOWS = 6
_BYTES_PER_WINDOW = 32 << 10


def estimate(pieces: Sequence[Piece], llm: Codec, run: Run, most: int = MAX_WINDOWS) -> list[list[float]]:
    """Estimated coded bytes per byte in up to ``most`` windows of each piece; none for pieces not worth asking for.

    All windows of all pieces go through one batch, where the model is fastest.
    """
    items: list[tuple[memoryview, tuple[int, ...]]] = []
    counts = []
    for piece in pieces:
        starts = _starts(len(piece.data), most)
        counts.append(len(starts))
        for start in starts:
            for end in (start + _WINDOW, start + _HEAD):
                window = piece.part(start, end)
                items.append((window.data, window.cuts))
    if not items:
        return [[] for _ in pieces]
    sizes = _measure(items, llm, run)
    costs = iter(
        [max(0, whole - head) / (_WINDOW - _HEAD) for whole, head in zip(sizes[::2], sizes[1::2], strict=True)]
    )
    return [[next(costs) for _ in range(count)] for count in counts]


def _measure(items: list[tuple[memoryview, tuple[int, ...]]], llm: Codec, run: Run) -> list[int]:
    """Coded sizes. To the statistics all of it is one stage."""
    if run.stats is None:
        return [len(payload) for payload in llm.encode_batch(items, run)]
    mine = Stats()
    sizes = [len(payload) for payload in llm.encode_batch(items, replace(run, stats=mine))]
    run.stats.add("probe", mine.seconds, sum(len(data) for data, _ in items), sum(sizes))
    return sizes


def _starts(size: int, most: int = MAX_WINDOWS) -> list[int]:
    """Where the windows begin: evenly spread, always the same for the same size."""
    if size < MIN_PROBED:
        return []
    count = min(max(size // _BYTES_PER_WINDOW, _MIN_WINDOWS), most)
    return [(2 * index + 1) * (size - _WINDOW) // (2 * count) for index in range(count)]
