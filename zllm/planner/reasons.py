"""Why a frame has the codec it has: one byte in the archive, one line in ``list -v``."""

from __future__ import annotations

from enum import IntEnum

MAX_RIVAL = 0xFFFF


class Reason(IntEnum):
    """Never renumbered: archives carry the numbers."""

    NONE = 0
    STORE_INCOMPRESSIBLE = 1
    LZ4_LEVEL = 2
    ZSTD_LEVEL = 3
    ZSTD_NO_MODEL = 4
    ZSTD_NOT_TEXT = 5
    ZSTD_PROBE = 6
    ZSTD_SMALLER = 7
    LLM_SMALLER = 8
    CM_LEVEL = 9
    CM_PROBE = 10
    CM_SMALLER = 11
    LLM_AHEAD = 12
    SMALLER = 13
    ZSTD_PROMISING = 14


_TEXTS: dict[int, str] = {
    Reason.NONE: "",
    Reason.STORE_INCOMPRESSIBLE: "stored: nothing made it smaller",
    Reason.LZ4_LEVEL: "lz4: the level asks for speed",
    Reason.ZSTD_LEVEL: "zstd: the level uses no language model",
    Reason.ZSTD_NO_MODEL: "zstd: no language model in use",
    Reason.ZSTD_NOT_TEXT: "zstd: not text",
    Reason.ZSTD_PROBE: "zstd: the model's samples took {rival} bits per byte",
    Reason.ZSTD_SMALLER: "zstd: the best other codec took {rival} bits per byte",
    Reason.LLM_SMALLER: "llm: without the model {rival} bits per byte",
    Reason.CM_LEVEL: "cm: no language model in use; zstd took about {rival} bits per byte",
    Reason.CM_PROBE: "cm: by its samples the model would save too little; zstd took about {rival} bits per byte",
    Reason.CM_SMALLER: "cm: the model took {rival} bits per byte",
    Reason.LLM_AHEAD: "llm: without the model about {rival} bits per byte",
    Reason.SMALLER: "the smallest of the codecs tried; zstd took about {rival} bits per byte",
    Reason.ZSTD_PROMISING: "zstd: samples by other codecs were not smaller",
}


def describe(reason: int, rival: int = 0) -> str:
    """The line for a reason code. ``rival``: thousandths of a bit per byte of the best measured alternative."""
    text = _TEXTS.get(reason)
    if text is None:
        return f"reason {reason} of a newer version"
    return text.format(rival=f"{rival / 1000:.2f}")


def millibits(coded: float, raw: int) -> int:
    """``coded`` bytes for ``raw`` bytes, in thousandths of a bit per byte, as much as two bytes hold."""
    return min(MAX_RIVAL, round(8000 * coded / raw)) if raw else 0
