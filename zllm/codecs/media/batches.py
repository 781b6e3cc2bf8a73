"""Frames that are each coded by one thread of C, with progress and cancellation inside a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from zllm._native import Cancel, Counter, Stages
from zllm.codecs import workspace
from zllm.codecs.base import Run
from zllm.codecs.threads import NoThreadsError, in_threads


def code(
    name: str,
    sizes: Sequence[int],
    one: Callable[[int, Cancel, Counter], bytes],
    memory: Callable[[int], int],
    run: Run,
) -> list[bytes]:
    """``one`` for each index, the largest first.

    Args:
        name: of the codec, for statistics.
        sizes: of the frames, in bytes of data.
        one: codes the frame with that number.
        memory: what a frame of some size takes.
        run: threads, progress, cancellation.
    """
    out = [b""] * len(sizes)
    waiting: SimpleQueue[int] = SimpleQueue()
    for at in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        waiting.put(at)

    def work(_: int, cancel: Cancel, counter: Counter, __: Stages | None) -> None:
        while True:
            try:
                at = waiting.get_nowait()
            except Empty:
                return
            with workspace.shared.hold(memory(sizes[at])), run.stage(name, sizes[at]) as stage:
                out[at] = one(at, cancel, counter)
                stage.bytes_out = len(out[at])

    try:
        in_threads(work, min(max(1, run.threads), len(sizes)), run)
    except NoThreadsError:  # nothing was done
        in_threads(work, 1, run)
    return out
