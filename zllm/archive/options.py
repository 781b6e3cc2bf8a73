"""What a writer can be told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from zllm.stats import Stats


@dataclass(frozen=True)
class WriteOptions:
    """How an archive is made.

    Args:
        level: 1 to 9, see :mod:`zllm.chooser.levels`.
        model: name or file of the language model; None is the built-in one.
        llm: whether the model may be used at all.
        threads: worker threads; None is one per processor. Never changes a byte of the result.
        frame_size: bytes of text in one frame; None leaves it to the level.
        progress: called with the number of bytes done since the last call, from any thread.
        stats: collects seconds by stage and bytes by codec.
        embed_model: put the model into the archive, if anything is coded with it: then reading needs nothing else.
    """

    level: int = 6
    model: str | Path | None = None
    llm: bool = True
    threads: int | None = None
    frame_size: int | None = None
    progress: Callable[[int], None] | None = None
    stats: Stats | None = None
    embed_model: bool = False


def thread_count(threads: int | None) -> int:
    """``threads``, or one per processor that this process may use."""
    if threads is not None:
        return max(1, threads)
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also heeds -X cpu_count
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
