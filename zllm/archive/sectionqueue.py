"""Sections that are coded while the next one is read."""

from __future__ import annotations

import threading
import time
from collections import deque

from zllm.archive.builder import SectionBuilder
from zllm.archive.sectionwriter import SectionWriter


class SectionQueue:
    """Codes sections in the background while the next is read: ``coder.sections`` of them, and no more are in memory.

    Daemon threads: a codec in the middle of a large frame does not keep an interrupted program alive.
    """

    def __init__(self, writer: SectionWriter) -> None:
        self.writer = writer
        self._sections: deque[threading.Event] = deque()  # that are being coded: set when they are written
        self._error: BaseException | None = None

    def submit(self, builder: SectionBuilder) -> None:
        """Start coding; waits until there is room for one more."""
        while len(self._sections) >= self.writer.coder.sections:
            self._wait_for_first()
            self.check()
        before = self._sections[-1] if self._sections else None
        ended = threading.Event()
        self._sections.append(ended)
        work = (builder, before, ended)
        try:
            threading.Thread(target=self._work, args=work, daemon=True, name="zllm-section").start()
        except RuntimeError:  # there can be no more threads: then nothing is read meanwhile
            self._work(*work)
            self.check()

    def _work(self, builder: SectionBuilder, before: threading.Event | None, ended: threading.Event) -> None:
        """Code the section, and write it as soon as the one before it is written."""
        try:
            work = self.writer.code(builder)
            if before is not None:
                before.wait()
            if self._error is None:
                self.writer.section(work)
        except BaseException as exc:
            if self._error is None:  # the others end because of it
                self._error = exc
            self.writer.coder.run.cancelled.set()
        finally:
            ended.set()

    def wait(self, timeout: float | None = None) -> None:
        """Until all sections are written. Raises what went wrong, again and again."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._sections:
            self._wait_for_first(None if until is None else max(0.0, until - time.monotonic()))
        self.check()

    def _wait_for_first(self, timeout: float | None = None) -> None:
        # An event: up to Python 3.12 a join() that Ctrl-C ends takes the thread for ended. And forgotten only
        # afterwards: an abort then waits again, before what the thread uses is closed.
        self._sections[0].wait(timeout)
        self._sections.popleft()

    def check(self) -> None:
        """Raise what went wrong so far, again and again."""
        if self._error is not None:
            raise self._error
