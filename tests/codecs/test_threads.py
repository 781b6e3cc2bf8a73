"""Threads end when one of them fails, or was never started."""

from __future__ import annotations

import threading
import time

import pytest

from zllm._native import Cancel, Counter, Stages
from zllm.codecs.base import Run
from zllm.codecs.threads import in_threads


def wait_to_be_told(number: int, cancel: Cancel, _: Counter, __: Stages | None) -> None:
    """A thread that waits for the others of a frame."""
    while not cancel.is_set():
        time.sleep(0.001)
    raise KeyboardInterrupt


def test_the_first_error_ends_all() -> None:
    def work(number: int, cancel: Cancel, counter: Counter, stages: Stages | None) -> None:
        if number == 1:
            raise ValueError("this one")
        wait_to_be_told(number, cancel, counter, stages)

    with pytest.raises(ValueError, match="this one"):
        in_threads(work, 3, Run(3))


def test_a_thread_that_cannot_be_started_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those that run would wait for it for ever."""
    start = threading.Thread.start
    before = threading.active_count()

    def limited(thread: threading.Thread) -> None:
        if threading.active_count() >= before + 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="can't start"):
        in_threads(wait_to_be_told, 3, Run(3))
    assert threading.active_count() == before
