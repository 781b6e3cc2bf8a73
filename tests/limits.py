"""A limit for what must not hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What ``work`` returns or raises, if it ends in time; no thread of a codec may be left then."""
    ended: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as exc:  # raised below, where it is seen
            failed.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still at work after {seconds} s"
    assert not [other for other in threading.enumerate() if other.name == "zllm-codec"]
    if failed:
        raise failed[0]
    return ended[0]
