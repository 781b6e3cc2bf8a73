"""What each level does. Nothing of this is in archives except as a note: decoding never needs the level."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.errors import UsageError

DEFAULT_LEVEL = 6
_KIB = 1 << 10
_MIB = 1 << 20


@dataclass(frozen=True)
class Level:
    """One level. Sizes in bytes; gains are shares of the size without the slower codec.

    ``fast_codec`` is what every other codec has to beat: ``lz4``, or ``zstd`` at ``zstd_level``. ``budget``: what a
    codec may cost to be tried, in nanoseconds a byte of encoding on one core. ``adaptive``: text by the adaptive
    predictor; ``llm``: with models. A slower codec is kept where it saves ``min_gain``. ``sample_margin``: how
    much more than a sample promises a model may turn out to save; it is asked where that could be enough.

    Frames: ``text_frame`` of text that the model is asked about (more history gains it nothing), ``shared_frame`` of
    members that share frames, ``alone_frame`` of a member that has frames of its own, ``solid_frame`` of the fast
    codec. ``streams``: of a text frame, at most; fewer code smaller, more decode faster.
    """

    number: int
    fast_codec: str
    zstd_level: int
    description: str
    budget: float
    adaptive: bool = False
    llm: bool = False
    min_gain: float = 0.0
    sample_margin: float = 0.0
    text_frame: int = _MIB
    shared_frame: int = _MIB
    alone_frame: int = 4 * _MIB
    solid_frame: int = 8 * _MIB
    streams: int = 16


# Speeds: one core; prose, Python sources and machine code. The model's cost dominates wherever it is used.
LEVELS: dict[int, Level] = {
    level.number: level
    for level in (
        Level(1, "lz4", 1, "lz4 only: 200 MB/s and more, about twice the size of level 4", budget=5),
        Level(2, "zstd", 3, "zstd -3: 100 to 300 MB/s", budget=20),
        Level(3, "zstd", 9, "zstd -9: 30 to 70 MB/s", budget=60),
        Level(4, "zstd", 19, "zstd -19: 3 to 4 MB/s", budget=400),
        Level(
            5, "zstd", 19, "adaptive context mixing where it beats zstd -19, no model: 1 MB/s",
            budget=2_000, adaptive=True, min_gain=0.02,
        ),
        Level(
            6, "zstd", 19, "as 5, and text with the model where it saves 2%: 60 to 120 KB/s of text",
            budget=20_000, adaptive=True, llm=True, min_gain=0.02,
        ),
        Level(
            7, "zstd", 19, "as 6, but where it saves 0.5%, and fewer streams: a little smaller and slower",
            budget=20_000, adaptive=True, llm=True, min_gain=0.005, streams=8,
        ),
        Level(
            8, "zstd", 19, "the model wherever it saves anything, larger frames without it",
            budget=50_000, adaptive=True, llm=True, sample_margin=0.03,
            shared_frame=4 * _MIB, alone_frame=8 * _MIB, streams=8,
        ),
        Level(
            9, "zstd", 19, "as 8, with frames of 16 MiB: smallest; reading one member may decode 16 MiB",
            budget=50_000, adaptive=True, llm=True, sample_margin=0.03,
            shared_frame=16 * _MIB, alone_frame=16 * _MIB, solid_frame=16 * _MIB, streams=8,
        ),
    )
}  # fmt: skip


def get_level(number: int) -> Level:
    """The level with this number.

    Raises:
        UsageError: there is none.
    """
    if number not in LEVELS:
        raise UsageError(f"levels go from {min(LEVELS)} to {max(LEVELS)}, not {number}")
    return LEVELS[number]
