"""Threads for independent pieces of work, which the caller does itself where no thread can be started (a container's
limit of processes, ``ulimit -u``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Pool(ThreadPoolExecutor):
    """A pool whose :meth:`submit` never fails for want of threads: it works before it returns then."""

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """As every pool has it."""
        once = _Once(lambda: fn(*args, **kwargs))
        try:
            super().submit(once)
        except RuntimeError:
            if self._shutdown:
                raise
            once()
        return once.future


class _Once:
    """Work that is done by the first thread to come: what could not be given to a new thread stays in the queue."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work = work
        self._taken = threading.Lock()

    def __call__(self) -> None:
        if not self._taken.acquire(blocking=False) or not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._work())
        except BaseException as exc:  # raised where the result is asked for
            self.future.set_exception(exc)
