"""Header blocks of many members, in columns."""

from __future__ import annotations

from zllm.container.wire import Reader, read_varints, varints

COLUMNS = 2


def encode(units: list[bytes]) -> list[bytes]:
    """Columns for the header units of a section, in order."""
    return [varints([len(unit) for unit in units]), b"".join(units)]


def decode(columns: list[bytes], count: int) -> list[bytes]:
    """The inverse of :func:`encode` for ``count`` units."""
    reader = Reader(columns[1], "section map")
    return [reader.take(n) for n in read_varints(columns[0], "section map")]
