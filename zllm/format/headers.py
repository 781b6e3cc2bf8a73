"""Header blocks of many members, in columns: like beside like, and nothing that follows from something else.

What is left out: checksums, sizes of extended headers, lengths of pax records, whole seconds that a pax record repeats,
short names that are the beginning of a long one. A member whose headers would not come back exactly is kept raw.
``docs/zllm-format.md`` lists the columns.
"""

from __future__ import annotations

from collections.abc import Iterable

from zllm.errors import DamagedError
from zllm.format import limits
from zllm.format.headercolumns import COLUMNS, MAX_UNITS, WHAT, Col
from zllm.format.headerdecoder import Decoder
from zllm.format.headerencoder import Encoder
from zllm.format.headerunits import Headers

__all__ = ["COLUMNS", "Col", "decode", "encode", "parts_of"]


def encode(units: Iterable[Headers]) -> list[bytes]:
    """Columns for the header units of a section, in order."""
    return Encoder().run(units)


def parts_of(columns: list[bytes]) -> int:
    """Header blocks and their texts and times: what decoding takes time for, known before."""
    texts = sum(columns[column].count(b"\0") for column in (Col.NAMES, Col.LINKS, Col.VALUES))
    return len(columns[Col.PARTS]) + len(columns[Col.DIGITS]) + texts


def decode(columns: list[bytes], count: int, longest: int = limits.MAX_EXTENDED) -> list[Headers]:
    """The inverse of :func:`encode` for ``count`` units, of which no text has more than ``longest`` bytes.

    Raises:
        DamagedError: these are not header columns, or they give more than a section can hold.
    """
    if len(columns) != COLUMNS or count > MAX_UNITS:
        raise DamagedError(f"{WHAT} is damaged: its headers make no sense")
    return Decoder(columns, longest).run(count)
