"""Threads that run C code: they end soon on Ctrl-C, and tell how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias

from zllm._native import Cancel, Counter, Stages
from zllm.codecs.base import Run

_POLL_SECONDS = 0.1

Work: TypeAlias = Callable[[int, Cancel, Counter, "Stages | None"], None]


class NoThreadsError(Exception):
    """Fewer threads than asked for can be started, and nothing was done."""


def in_threads(work: Work, count: int, run: Run) -> None:
    """Call ``work`` with the numbers below ``count``, each in a thread of its own, and wait: progress is passed on, and
    on cancellation or the first error all are told to end. Raises that error.

    Where no thread can be started, the caller does what is for one.

    Raises:
        NoThreadsError: only some of several can be started.
    """
    cancel = Cancel()
    counters = [Counter() for _ in range(count)]
    stages = [Stages() if run.stats is not None else None for _ in range(count)]
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def one(number: int) -> None:
        try:
            work(number, cancel, counters[number], stages[number])
        except BaseException as exc:  # it goes on in the thread that waits
            ended.put(exc)
        else:
            ended.put(None)

    started: list[threading.Thread] = []
    try:
        _start(one, count, started)
        _watch(counters, ended, run)
    except BaseException:
        cancel.set()
        raise
    finally:
        for thread in started:
            thread.join()
    for measured in stages:
        if measured is not None and run.stats is not None:
            for name, seconds in measured.seconds().items():
                if seconds:  # nothing of the model's, for those who do without it
                    run.stats.add(f"model/{name}", seconds)


def _start(one: Callable[[int], None], count: int, started: list[threading.Thread]) -> None:
    """Threads that begin when all have started: they may wait for each other."""
    everybody: SimpleQueue[bool] = SimpleQueue()

    def begin(number: int) -> None:
        if everybody.get():
            one(number)

    try:
        for number in range(count):
            thread = threading.Thread(target=begin, args=(number,), name="zllm-codec", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        if count == 1:
            one(0)
            return
        raise NoThreadsError from None
    finally:
        for _ in started:
            everybody.put(len(started) == count)


def _watch(counters: list[Counter], ended: SimpleQueue[BaseException | None], run: Run) -> None:
    """Until all threads have ended."""
    reported, left = 0, len(counters)
    while left:
        try:
            error = ended.get(timeout=_POLL_SECONDS)
        except Empty:
            pass
        else:
            if error is not None:
                raise error
            left -= 1
        total = sum(counter.value for counter in counters)
        run.done(total - reported)
        reported = total
