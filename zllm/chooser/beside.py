"""A call that runs beside others: zstd has one thread's work to do while the model has all threads' work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Beside(Generic[_T]):
    """Starts ``call`` at once in a thread of its own; :meth:`result` waits for it."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._result: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="zllm-beside", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as exc:  # raised where the result is asked for
            self._error = exc

    def result(self) -> _T:
        """What the call returned, or the error that it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]
