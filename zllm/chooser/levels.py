"""What each level does. Nothing of this is in archives except as a note: decoding never needs the level."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.errors import UsageError

DEFAULT_LEVEL = 6
_KIB = 1 << 10
_MIB = 1 << 20


@dataclass(frozen=True)
class Level:
    """One level. Sizes in bytes; gains are shares of the zstd size.

    ``fast_codec`` codes whatever the model does not (``lz4`` or ``zstd`` at ``zstd_level``). ``probe_slack`` is how
    much better than its probe the model may turn out to be: windows of a few KiB know less than a whole frame does.
    """

    number: int
    fast_codec: str
    zstd_level: int
    llm: bool
    min_gain: float
    description: str
    text_frame: int = _MIB
    solid_frame: int = 8 * _MIB
    probe_slack: float = 0.1


# Speeds: one core; prose, Python sources and machine code. The model's cost dominates wherever it is used.
LEVELS: dict[int, Level] = {
    level.number: level
    for level in (
        Level(1, "lz4", 1, False, 0.0, "lz4 only: 200 MB/s and more, about twice the size of level 5"),
        Level(2, "zstd", 3, False, 0.0, "zstd -3: 100 to 300 MB/s"),
        Level(3, "zstd", 9, False, 0.0, "zstd -9: 30 to 70 MB/s"),
        Level(4, "zstd", 15, False, 0.0, "zstd -15: 5 to 10 MB/s"),
        Level(5, "zstd", 19, False, 0.0, "zstd -19, no model: 3 to 4 MB/s"),
        Level(6, "zstd", 19, True, 0.05, "the model for text where it saves 5%, else zstd -19: 40 to 120 KB/s of text"),
        Level(7, "zstd", 19, True, 0.02, "as 6, but where it saves 2%: a little slower"),
        Level(8, "zstd", 19, True, 0.0, "the model wherever it saves anything: slower", probe_slack=0.25),
        Level(
            9,
            "zstd",
            19,
            True,
            0.0,
            "as 8 in text frames of 16 MiB: smallest; reading one member may decode 16 MiB",
            text_frame=16 * _MIB,
            solid_frame=16 * _MIB,
            probe_slack=0.25,
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
