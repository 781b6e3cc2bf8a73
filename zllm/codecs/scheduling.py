"""How coding with a model is divided among threads and steps. Nothing of it changes a byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

_N = TypeVar("_N", int, float)


def measured(value: _N, unit: str, command: str) -> _N:
    """A field of that value. ``command`` measures what it is good for; run it again before changing the value."""
    made: _N = field(default=value, metadata={"unit": unit, "command": command})
    return made


@dataclass(frozen=True)
class Scheduling:
    """Numbers that speed and memory were measured for. Each field's metadata has its ``unit`` and the ``command``."""

    lanes: int = measured(32, "streams", "python -m bench speed")
    """That one thread decodes at once, at most."""
    rows: int = measured(64, "tokens", "python -m bench speed")
    """Of one stream that one thread encodes at once."""
    near_bytes: int = measured(6 << 20, "bytes", "python -m bench speed")
    """Keys and values of all lanes of a model that fits into the last cache."""
    far_bytes: int = measured(256 << 20, "bytes", "python -m bench memory")
    """Keys and values of all lanes of one that does not."""
    last_cache_bytes: int = measured(24 << 20, "bytes", "python -m bench speed")
    """A larger model does not fit into it."""
    batch_bytes: int = measured(8 << 20, "bytes", "python -m bench memory")
    """Text in work at once, which bounds memory."""
    stepped_bytes: int = measured(64 << 20, "bytes", "python -m bench gpu")
    """The same where an executor has lanes to fill."""
    predictor_bytes: int = measured(1 << 30, "bytes", "python -m bench gpu")
    """Of predictors in work at once beside an executor: a frame's takes 64 bytes for each of its text, and 2 MB."""
    tokenised_bytes: int = measured(256 << 10, "bytes", "python -m bench memory")
    """Text that a thread tokenises at once: its tokens are Python objects for a moment."""
    tokenising_threads: int = measured(2, "threads", "python -m bench memory")
    """Each more takes 8 MB, and saves less."""
    unit_bytes: int = measured(256 << 10, "bytes", "python -m bench memory")
    """Text of small frames in work at once in a thread: a predictor takes 100 times a small text."""
    same_size: float = measured(0.8, "of the largest frame's size", "python -m bench speed")
    """Frames from this size on take threads about the same time."""
    fewest_shared_streams: int = measured(6, "streams a thread", "python -m bench speed")
    """Threads do not share a frame of fewer: their steps would be too empty."""
    most_in_team: int = measured(8, "threads", "python -m bench speed")
    """With more, each has too few rows of a matrix."""


SCHEDULING = Scheduling()
