"""Prints what the constants of ``zllm/planner/tuning.py`` were tuned to, for files of your own::

    python tools/measure_planner.py samples|estimates|bound FILE...

``samples``: what a model saves of each file, what a sample of it promises, and whether the level asks the model.
``estimates``: how far the estimates of the predictor's sizes are off. ``bound``: what zstd -19 makes of zstd -9's size.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from zllm.codecs.base import Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.llm import LlmCodec
from zllm.codecs.zstd import DEFAULT_LEVEL, ZstdCodec
from zllm.models import store
from zllm.planner.estimate import estimates
from zllm.planner.levels import get_level
from zllm.planner.probe import QUICK, are_prose, coded_sizes, expected, gains
from zllm.planner.units import Piece, cut_pieces, frame_size

LEVEL = get_level(6)
RUN = Run()


def samples(piece: Piece) -> str:
    """The model's saving of the whole, and what the planner expects of it."""
    model = LlmCodec(store.resolve(None), LEVEL.streams)
    quick = coded_sizes([(piece.data, ())], QUICK, RUN)
    [[gain]] = gains([piece], CmCodec(), [model], RUN)
    with_model = sum(coded_sizes([(part.data, ()) for part in cut_pieces(piece, LEVEL.text_frame)], model, RUN))
    frame = frame_size(piece, LEVEL)
    alone = sum(coded_sizes([(part.data, ()) for part in cut_pieces(piece, frame)], CmCodec(), RUN))
    promise = expected(gain, min(len(piece.data), frame))
    prose = " prose" if are_prose([piece], quick)[0] else ""
    asked = "asked" if promise + LEVEL.sample_margin >= LEVEL.min_gain else "not asked"
    return f"saves {1 - with_model / alone:7.3f}  sample {gain:7.3f}  expected {promise:7.3f}  {asked}{prose}"


def estimated(piece: Piece) -> str:
    """The estimate, and the truth."""
    [about] = estimates([piece], CmCodec(), RUN)
    [alone] = coded_sizes([(piece.data, ())], CmCodec(), RUN)
    return f"{alone} bytes, estimated {'none' if about is None else f'{about}, {about / alone:.3f} of it'}"


def bound(piece: Piece) -> str:
    """The share of zstd -9's size that zstd -19 makes, and the predictor."""
    sizes = [coded_sizes([(piece.data, ())], codec, RUN)[0] for codec in (QUICK, ZstdCodec(DEFAULT_LEVEL), CmCodec())]
    return f"zstd -9 {sizes[0]}, zstd -19 {sizes[1] / sizes[0]:.3f} of it, cm {sizes[2] / sizes[0]:.3f}"


TABLES = {"samples": samples, "estimates": estimated, "bound": bound}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in TABLES:
        sys.exit(__doc__)
    for name in sys.argv[2:]:
        print(f"{name}: {TABLES[sys.argv[1]](Piece(memoryview(Path(name).read_bytes())))}", flush=True)
