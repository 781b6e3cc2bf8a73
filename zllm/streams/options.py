"""What functions of this package take beside data, as options of writers and readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zllm.archive.options import Options, ReadOptions, WriteOptions, names

Model = str | Path | list[str | Path] | None
"""A name or a file, or several."""


def writing(level: int | None, model: Model, more: dict[str, Any]) -> WriteOptions:
    """How to code.

    Raises:
        TypeError: an option that there is not, or of another type than it must have.
        UsageError: a value that there is not.
    """
    _known(more, WriteOptions)
    if level is not None:
        more = {**more, "level": level}
    return WriteOptions(model=model, **more)


def reading(model: Model, more: dict[str, Any]) -> ReadOptions:
    """How to decode; raises as :func:`writing`."""
    _known(more, ReadOptions)
    return ReadOptions(model=model, **more)


def _known(more: dict[str, Any], kind: type[Options]) -> None:
    for name in more:
        if name not in names(kind):
            raise TypeError(f"unexpected keyword argument {name!r}")
