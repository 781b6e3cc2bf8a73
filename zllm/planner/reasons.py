"""Why a frame has the codec it has: a byte and a number in the archive, one line in ``list -v``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from zllm.codecs import registry

MAX_RIVAL = 0xFFFF
_OTHER_PACKAGE = 15


class Why(IntEnum):
    """Never renumbered: archives carry the numbers, 0 to 15."""

    UNKNOWN = 0
    SMALLEST = 1
    NEED_NOT_COMPARE = 2
    SAMPLES = 3
    LEVEL = 4
    INCOMPRESSIBLE = 5


_TEXTS = {
    Why.SMALLEST: "smallest",
    Why.NEED_NOT_COMPARE: "smallest",
    Why.SAMPLES: "samples by slower codecs promised too little",
    Why.LEVEL: "the level tries no other codec",
    Why.INCOMPRESSIBLE: "nothing made it smaller",
}


@dataclass(frozen=True)
class Reason:
    """``other``: id of the best other codec, if any; ``size``: what that took in thousandths of a bit per byte, 0 if
    that is not known. Measured where ``why`` is SMALLEST, else about so much: by an estimate, or by zstd -9 for -19."""

    why: Why
    other: int | None = None
    size: int = 0

    @property
    def code(self) -> int:
        """The byte of the section map: ``why`` in the high four bits, the other codec in the low four."""
        if self.other is None:
            return self.why << 4
        return self.why << 4 | min(self.other + 1, _OTHER_PACKAGE)

    def text(self) -> str:
        """The line for listings."""
        text = _TEXTS.get(self.why, "")
        if self.other is None or not self.size:
            return text
        about = "about " if self.why is not Why.SMALLEST else ""
        name = "a codec of another package" if self.other + 1 >= _OTHER_PACKAGE else registry.name_of(self.other)
        return f"{text}; {name}: {about}{self.size / 1000:.2f} bits per byte"


def describe(code: int, rival: int = 0) -> str:
    """The line for a reason as archives have it. ``rival``: thousandths of a bit per byte."""
    number, other = code >> 4, (code & 15) - 1
    if number not in list(Why):
        return f"reason {code} of a newer version"
    known = None if other < 0 else _OTHER_PACKAGE if other + 1 == _OTHER_PACKAGE else other
    return Reason(Why(number), known, rival).text()


def millibits(coded: float, raw: int) -> int:
    """``coded`` bytes for ``raw`` bytes, in thousandths of a bit per byte, as much as two bytes hold."""
    return min(MAX_RIVAL, round(8000 * coded / raw)) if raw else 0
