"""What a writer can be told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from zllm.codecs.base import Codec
    from zllm.stats import Stats


class Cluster(Protocol):
    """Other machines that code frames (:class:`zllm.integrations.dask_.Cluster`)."""

    @property
    def sections(self) -> int:
        """To have in work at the same time, so that every machine is busy."""

    def wrap(self, codec: Codec) -> Codec:
        """``codec`` with its batches coded over there, to the same bytes; or itself, where that is faster."""


@dataclass(frozen=True)
class WriteOptions:
    """How an archive is made.

    Args:
        level: 1 to 9, see :mod:`zllm.planner.levels`.
        model: name or file of the language model; None is the built-in one.
        llm: whether the model may be used at all.
        threads: worker threads; None is one per processor. Never changes a byte of the result.
        frame_size: bytes of text in one frame; None leaves it to the level.
        progress: called with the number of bytes done since the last call, from any thread.
        stats: collects seconds by stage and bytes by codec.
        embed_model: put the model into the archive, if anything is coded with it: then reading needs nothing else.
        cluster: other machines that code frames. They never change a byte of the result.
        device: what computes the model: cpu, cuda, cuda:N or auto. Never changes a byte of the result.
        executor: how: native, torch or auto (:class:`zllm.executors.Choice`).
    """

    level: int = 6
    model: str | Path | None = None
    llm: bool = True
    threads: int | None = None
    frame_size: int | None = None
    progress: Callable[[int], None] | None = None
    stats: Stats | None = None
    embed_model: bool = False
    cluster: Cluster | None = None
    device: str = "auto"
    executor: str = "auto"

    @classmethod
    def taken_from(cls, keywords: dict[str, Any]) -> WriteOptions:
        """The options that are among ``keywords``; they are taken out of them. ``compresslevel``, tarfile's name for
        ``level``, counts if it is there.
        """
        level = keywords.pop("compresslevel", None)
        taken = {field.name: keywords.pop(field.name) for field in fields(cls) if field.name in keywords}
        return cls(**taken if level is None else {**taken, "level": level})


def thread_count(threads: int | None) -> int:
    """``threads``, or one per processor that this process may use."""
    if threads is not None:
        return max(1, threads)
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also heeds -X cpu_count
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
