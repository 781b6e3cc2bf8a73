"""What would a model save here? Asked of a sample, before it is let loose on megabytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import zstandard

from zllm.codecs.base import Buffer, Codec, Run
from zllm.codecs.zstd import DEFAULT_LEVEL, ZstdCodec
from zllm.planner.tuning import TUNING
from zllm.planner.units import Piece
from zllm.stats import Stats


class _Quick(ZstdCodec):
    """zstd -9 with the window of -19, which finds what -19 finds far back."""

    def parameters(self, size: int, window_log: int | None = None) -> zstandard.ZstdCompressionParameters:
        """See :meth:`ZstdCodec.parameters`."""
        return super().parameters(size, ZstdCodec(DEFAULT_LEVEL).parameters(size).window_log)


# For sizes that are only compared: 50 MB/s.
QUICK = _Quick(9)


def gains(pieces: Sequence[Piece], without: Codec, models: Sequence[Codec], run: Run) -> list[list[float]]:
    """For each piece and model, the share that the model saves of a sample, which is negative where it loses.

    What counts is the sample's second half: at a text's start all is new, and a model knows it better by some share.
    All samples go through one batch for each codec, where models are fastest.
    """
    items: list[tuple[Buffer, Sequence[int]]] = []
    for piece in pieces:
        sample = spread(piece.data, TUNING.sample, TUNING.sample_spots)
        items += [(sample[: len(sample) // 2], ()), (sample, ())]
    alone, *helped = (_second_halves(coded_sizes(items, codec, run)) for codec in (without, *models))
    return [[1 - sizes[at] / max(1, alone[at]) for sizes in helped] for at in range(len(pieces))]


def best_models(pieces: Sequence[Piece], models: Sequence[Codec], run: Run) -> list[int]:
    """For each piece, which of the models codes its sample to the fewest bytes; the first of several."""
    if len(models) == 1:
        return [0] * len(pieces)
    items = [(spread(piece.data, TUNING.sample, TUNING.sample_spots), ()) for piece in pieces]
    sizes = [coded_sizes(items, model, run) for model in models]
    return [min(range(len(models)), key=lambda k, at=at: sizes[k][at]) for at in range(len(pieces))]  # type: ignore[misc]


def expected(gain: float, size: int) -> float:
    """The share that a model saves of ``size`` bytes, if it saves ``gain`` of a sample."""
    return gain - TUNING.fading * max(0.0, math.log2(max(1, size) / TUNING.sample))


def are_prose(pieces: Sequence[Piece], quick: Sequence[int]) -> list[bool]:
    """Whether each needs no samples, provided that it is text without structure: zstd tells prose, which models know,
    from what repeats itself. ``quick``: bytes of each by :data:`QUICK`.
    """
    return [size * TUNING.prose > len(piece.data) for piece, size in zip(pieces, quick, strict=True)]


def sampled_sizes(pieces: Sequence[Piece], codec: Codec, run: Run) -> list[int]:
    """Bytes by ``codec`` of two windows of each piece, which is larger than they are: to compare codecs."""
    items: list[tuple[Buffer, Sequence[int]]] = []
    for piece in pieces:
        last = len(piece.data) - TUNING.compared
        windows = [piece.part(start, start + TUNING.compared) for start in (last // 4, 3 * last // 4)]
        items += [(window.data, window.boundaries) for window in windows]
    sizes = coded_sizes(items, codec, run)
    return [first + second for first, second in zip(sizes[::2], sizes[1::2], strict=True)]


def spread(data: memoryview, size: int, spots: int) -> bytes:
    """About ``size`` bytes from evenly spread places, always the same for the same data; all of it if that is less."""
    if len(data) <= size:
        return bytes(data)
    part = size // spots
    starts = [(2 * spot + 1) * (len(data) - part) // (2 * spots) for spot in range(spots)]
    return b"".join(data[start : start + part] for start in starts)


def coded_sizes(items: Sequence[tuple[Buffer, Sequence[int]]], codec: Codec, run: Run) -> list[int]:
    """Bytes of each item. To the statistics all of it is one stage."""
    mine = None if run.stats is None else Stats()
    sizes = codec.payload_sizes(items, replace(run, stats=mine)) if items else []
    if run.stats is not None and mine is not None and items:
        run.stats.add("probe", mine.seconds, sum(len(data) for data, _ in items), sum(sizes))
    return sizes


def _second_halves(sizes: Sequence[int]) -> list[int]:
    """Coded bytes of each sample after its first half: of its whole less its half's."""
    return [max(0, whole - half) for half, whole in zip(sizes[::2], sizes[1::2], strict=True)]
