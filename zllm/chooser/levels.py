"""What each level does. Nothing of this is in archives except as a note: decoding never needs the level."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.errors import UsageError

DEFAULT_LEVEL = 6
_KIB = 1 << 10
_MIB = 1 << 20


@dataclass(frozen=True)
class Level:
    """One level. Sizes in bytes; gains are shares of the size without the model.

    ``fast_codec`` codes whatever is not text (``lz4`` or ``zstd`` at ``zstd_level``), and is what text has to beat.
    ``adaptive``: text by the adaptive predictor; ``llm``: with the model, where it saves ``min_gain``. ``hope``: how
    much more than its samples promise the model may turn out to save. ``text_frame``, ``alone_frame``: of text that the
    model is asked about, and of other. ``streams``: of a text frame, at most; fewer code smaller, more decode faster.
    """

    number: int
    fast_codec: str
    zstd_level: int
    description: str
    adaptive: bool = False
    llm: bool = False
    min_gain: float = 0.0
    hope: float = 1.5
    # The model gains nothing from more history, the predictor alone does (docs/predictor.md, frames).
    text_frame: int = _MIB
    alone_frame: int = _MIB
    solid_frame: int = 8 * _MIB
    streams: int = 16


# Speeds: one core; prose, Python sources and machine code. The model's cost dominates wherever it is used.
LEVELS: dict[int, Level] = {
    level.number: level
    for level in (
        Level(1, "lz4", 1, "lz4 only: 200 MB/s and more, about twice the size of level 4"),
        Level(2, "zstd", 3, "zstd -3: 100 to 300 MB/s"),
        Level(3, "zstd", 9, "zstd -9: 30 to 70 MB/s"),
        Level(4, "zstd", 19, "zstd -19: 3 to 4 MB/s"),
        Level(5, "zstd", 19, "text by adaptive context mixing, no model, else zstd -19: 1 MB/s of text", adaptive=True),
        Level(
            6,
            "zstd",
            19,
            "as 5, with the model where it saves 2%: 60 to 120 KB/s of text",
            adaptive=True,
            llm=True,
            min_gain=0.02,
        ),
        Level(
            7,
            "zstd",
            19,
            "as 6, but where it saves 0.5%, and fewer streams: a little smaller and slower",
            adaptive=True,
            llm=True,
            min_gain=0.005,
            streams=8,
        ),
        Level(
            8,
            "zstd",
            19,
            "the model wherever it saves anything, frames of 4 MiB for text without it",
            adaptive=True,
            llm=True,
            hope=10.0,
            alone_frame=4 * _MIB,
            streams=8,
        ),
        Level(
            9,
            "zstd",
            19,
            "as 8, with frames of 16 MiB: smallest; reading one member may decode 16 MiB",
            adaptive=True,
            llm=True,
            hope=10.0,
            alone_frame=16 * _MIB,
            solid_frame=16 * _MIB,
            streams=8,
        ),
    )
}


def get_level(number: int) -> Level:
    """The level with this number.

    Raises:
        UsageError: there is none.
    """
    if number not in LEVELS:
        raise UsageError(f"levels go from {min(LEVELS)} to {max(LEVELS)}, not {number}")
    return LEVELS[number]
