"""How large would a text be without a model? A part of it is asked, to see whether coding the rest could matter.

The predictor gains on zstd in a sample by nearly the share that it gains in the whole, since both learn from what they
have read. It learns more of much, so the gain of a part over that of half as much is carried on. Of 15 texts of 225 KB
to 1 MB estimates were 9% below to 9% above the truth, of words in random order 17% above it (docs/decisions/051).
"""

from __future__ import annotations

from collections.abc import Sequence

from zllm.codecs.base import Buffer, Codec, Run
from zllm.planner.probe import QUICK, coded_sizes, spread
from zllm.planner.tuning import TUNING
from zllm.planner.units import Piece


def estimates(pieces: Sequence[Piece], cm: Codec, run: Run) -> list[int | None]:
    """Bytes of each piece by ``cm``, about; None for pieces too small, or too repetitive, to say."""
    large = [(at, piece.data) for at, piece in enumerate(pieces) if len(piece.data) >= TUNING.estimated]
    result: list[int | None] = [None] * len(pieces)
    if not large:
        return result
    shares = [TUNING.share * (2 if len(data) >= TUNING.much else 1) for _, data in large]
    samples: list[tuple[Buffer, Sequence[int]]] = [
        (spread(data, len(data) // part, TUNING.estimate_spots), ())
        for (_, data), share in zip(large, shares, strict=True)
        for part in (share, 2 * share)
    ]
    # By zstd -19 estimates are no better.
    by_zstd = coded_sizes([*samples, *((data, ()) for _, data in large)], QUICK, run)
    by_cm = coded_sizes(samples, cm, run)
    for i, (at, data) in enumerate(large):
        part, half = (by_cm[2 * i + k] / max(1, by_zstd[2 * i + k]) for k in range(2))
        # From an eighth to the whole are three doublings, each of which gains less than the one before: counted as two.
        doublings = shares[i].bit_length() - 2
        about = int(part * min(1.0, part / half) ** doublings * by_zstd[len(samples) + i])
        if about * TUNING.repetitive >= len(data):
            result[at] = about
    return result


def model_is_ahead(with_model: int, estimate: int | None) -> bool:
    """Whether the model's size is so far below the estimate that the other size need not be known."""
    return estimate is not None and with_model < estimate * TUNING.ahead
