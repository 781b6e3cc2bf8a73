"""What would the model save here? Asked of a few samples, before it is let loose on megabytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zllm.codecs.base import Buffer, Codec, Run
from zllm.codecs.zstd import ZstdCodec
from zllm.planner.units import Piece
from zllm.stats import Stats

# Below this, coding all of it costs little more than samples would.
MIN_PROBED = 256 << 10
# At a text's start all is new, and the model knows it better by some share. The predictor learns; so what counts is
# what the model saves of a window once both have read as much before it. In 32 KiB, logs and tables have got there:
# models that save 15% of their first kilobytes lose on the rest.
_WINDOW = 32 << 10
_HEAD = 16 << 10
_MAX_WINDOWS = 4
_BYTES_PER_WINDOW = 1 << 20
# For sizes that are only compared: 50 MB/s.
QUICK = ZstdCodec(9)
# It makes prose 2.6 to 3.5 times smaller, source code 5 times.
_PROSE = 4


def gains(pieces: Sequence[Piece], without: Codec, llm: Codec, run: Run) -> list[float | None]:
    """For each piece, the share that the model saves of samples, which is negative where it loses; None for pieces not
    worth asking for.

    All windows of all pieces go through one batch for each codec, where the model is fastest.
    """
    items: list[tuple[Buffer, Sequence[int]]] = []
    counts = []
    for piece in pieces:
        starts = _starts(len(piece.data))
        counts.append(len(starts))
        for start in starts:
            for end in (start + _HEAD, start + _WINDOW):
                window = piece.part(start, end)
                items.append((window.data, window.cuts))
    if not items:
        return [None] * len(pieces)
    alone, helped = (iter(_later_halves(coded_sizes(items, codec, run))) for codec in (without, llm))
    result: list[float | None] = []
    for count in counts:
        sizes = [sum(next(costs) for _ in range(count)) for costs in (alone, helped)]
        result.append(1 - sizes[1] / max(1, sizes[0]) if count else None)
    return result


def are_prose(pieces: Sequence[Piece], quick: Sequence[int]) -> list[bool]:
    """Whether each is large and no samples of it are needed, provided that it is text without structure: zstd tells
    prose, which the model knows, from what repeats itself. ``quick``: bytes of each by :data:`QUICK`.
    """
    return [
        len(piece.data) >= MIN_PROBED and size * _PROSE > len(piece.data)
        for piece, size in zip(pieces, quick, strict=True)
    ]


def sampled_sizes(pieces: Sequence[Piece], codec: Codec, run: Run) -> list[int]:
    """Bytes by ``codec`` of some windows of each piece (:data:`MIN_PROBED` and more bytes): to compare codecs."""
    items: list[tuple[Buffer, Sequence[int]]] = []
    for piece in pieces:
        last = len(piece.data) - _WINDOW
        windows = [piece.part(start, start + _WINDOW) for start in (last // 4, 3 * last // 4)]
        items += [(window.data, window.cuts) for window in windows]
    sizes = coded_sizes(items, codec, run)
    return [first + second for first, second in zip(sizes[::2], sizes[1::2], strict=True)]


def _later_halves(sizes: Sequence[int]) -> list[int]:
    """Coded bytes of each window after its head: of its whole less its head's."""
    return [max(0, whole - head) for head, whole in zip(sizes[::2], sizes[1::2], strict=True)]


def coded_sizes(items: Sequence[tuple[Buffer, Sequence[int]]], codec: Codec, run: Run) -> list[int]:
    """Bytes of each item. To the statistics all of it is one stage."""
    if run.stats is None or not items:
        return [len(payload) for payload in codec.encode_batch(items, run)]
    mine = Stats()
    sizes = [len(payload) for payload in codec.encode_batch(items, replace(run, stats=mine))]
    run.stats.add("probe", mine.seconds, sum(len(data) for data, _ in items), sum(sizes))
    return sizes


def _starts(size: int) -> list[int]:
    """Where the windows begin: evenly spread, always the same for the same size."""
    if size < MIN_PROBED:
        return []
    count = min(max(size // _BYTES_PER_WINDOW, 1), _MAX_WINDOWS)
    return [(2 * index + 1) * (size - _WINDOW) // (2 * count) for index in range(count)]
