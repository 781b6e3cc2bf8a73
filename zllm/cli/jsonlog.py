"""``--log-json``: what is said on stderr, as JSON lines (``docs/schemas/log.json``)."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from zllm.cli.output import Console

_INTERVAL = 1.0


class JsonConsole(Console):
    """Messages as JSON lines. The last one says the exit code and what was done."""

    def __init__(self, program: str = "zllm") -> None:
        super().__init__(program)
        self.print = self._line
        self.machine = True
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._over = False

    def detail(self, text: str) -> None:
        """What was done, in words."""
        if not self.quiet:
            self._message("summary", text)

    def progress(self, label: str, unit: str) -> Callable[[int, int | None], None]:
        """Hears how much is done, and of how much if that is known; says so once a second."""
        said = time.monotonic()

        def report(done: int, total: int | None) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said >= _INTERVAL and not self.quiet:
                said = now
                self._write({"type": "progress", "doing": label, "done": done, "total": total, "unit": unit})

        return report

    def finished(self, status: int) -> None:
        """The process ends with this code."""
        if not self._over:
            self._over = True
            seconds = round(time.monotonic() - self._started, 3)
            self._write({"type": "end", "code": status, "seconds": seconds, "result": self.facts})

    def _line(self, text: str) -> None:
        self._write({"type": "line", "text": text})

    def _message(self, level: str, text: str) -> None:
        """See :class:`Console`; ``summary`` is one more level."""
        self._write({"type": "message", "level": level, "text": text})

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps({**record, "time": round(time.time(), 3)}) + "\n"
        # Neither a closed stderr nor one that cannot take the line is a reason to lose a backup.
        with self._lock, contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(line)
                sys.stderr.flush()
