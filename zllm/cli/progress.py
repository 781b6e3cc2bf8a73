"""A progress bar on a terminal where tqdm is installed; silence everywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from zllm.cli.output import Console, on_terminal


def wanted(console: Console) -> bool:
    """Whether anybody would see it: ``-q`` was not given, and stderr is a terminal that can move its cursor, or read by
    a program."""
    if console.quiet or console.machine:
        return not console.quiet
    return on_terminal(sys.stderr) and os.environ.get("TERM", "") not in ("", "dumb")


class Progress:
    """Counts bytes, with speed and time left. Calls may come from any thread. Messages appear above the bar.

    Nothing depends on it: without tqdm there is no bar, and a terminal that goes away, or a bar that cannot be made, is
    no reason to lose work.
    """

    def __init__(self, console: Console, label: str, total: int | None = None, unit: str = "B") -> None:
        self.console = console
        self._lock = threading.Lock()
        self._bar: Any = None
        self._saved = console.print
        self._report = console.progress(label, unit)
        self._done, self._total = 0, total
        if wanted(console) and self._report is None:
            with contextlib.suppress(Exception):
                self._bar = self._open(label, total, unit)
                console.print = self._print

    @staticmethod
    def _open(label: str, total: int | None, unit: str) -> Any:
        from tqdm import tqdm

        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            columns = 0  # some terminals do not know
        tqdm.monitor_interval = 0  # no thread that looks after a bar which is late
        return tqdm(
            total=total, desc=label, unit=unit, unit_scale=True, file=sys.stderr, leave=False, mininterval=0.1,
            miniters=1, smoothing=0.1, dynamic_ncols=columns > 0, ncols=None if columns else 80,
        )  # fmt: skip

    def _print(self, line: str) -> None:
        bar = self._bar
        if bar is None:
            self._saved(line)
            return
        with self._no_harm():
            bar.write(line, file=sys.stderr)

    @contextlib.contextmanager
    def _no_harm(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # the terminal is gone
            self._bar = None

    @property
    def shown(self) -> bool:
        """Whether anybody sees it."""
        return self._bar is not None or self._report is not None

    def expect(self, total: int) -> None:
        """How many bytes there are in all, now that it is known."""
        self._total = total
        bar = self._bar
        if bar is not None:
            with self._no_harm():
                bar.total = total
                bar.refresh()

    def __call__(self, count: int) -> None:
        """``count`` more bytes are done."""
        if self._report is not None:
            with self._lock:
                self._done += count
                self._report(self._done, None if self._total is None else max(self._total, self._done))
        if self._bar is None:
            return
        with self._lock, self._no_harm():
            bar = self._bar
            if bar is None:
                return
            if bar.total is not None and bar.n + count > bar.total:
                bar.total = bar.n + count
            bar.update(count)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        bar = self._bar
        if bar is not None:
            with self._no_harm():
                bar.close()
        self.console.print = self._saved
