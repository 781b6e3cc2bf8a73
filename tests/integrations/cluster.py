"""A dask cluster of real processes on the loopback, for one test or one module."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# A worker that dies is noticed by its closed connection; these are for machines with much else to do.
_PATIENCE = 120


def wait_for(what: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
    """What ``what`` gives, as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


class Farm:
    """A scheduler, and workers as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self._files = contextlib.ExitStack()
        self._client: Any = None
        place = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(place))
        self.address = wait_for(lambda: self._address(place))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        log = self._files.enter_context((self.folder / f"{words[0]}{len(self.workers)}.log").open("wb"))
        # Other ports than its own are of no use; two farms must not want the same one.
        command = [sys.executable, "-m", "dask", *words, "--dashboard-address", "127.0.0.1:0"]
        return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _address(self, place: Path) -> str:
        assert self.scheduler.poll() is None, (self.folder / "scheduler0.log").read_text()
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(place.read_text())["address"])
        return ""

    def add(self, count: int = 1, *, preload: str = "") -> None:
        """More workers of one thread each. ``preload``: Python that runs in them first."""
        words = ["--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder)]
        if preload:
            script = self.folder / "preload.py"
            script.write_text(preload)
            words += ["--preload", str(script)]
        self.workers += [self._start("worker", self.address, *words) for _ in range(count)]
        self.client.wait_for_workers(len([w for w in self.workers if w.poll() is None]), timeout=_PATIENCE)

    @property
    def client(self) -> Any:
        """To look into the cluster with."""
        if self._client is None:
            import distributed

            self._client = distributed.Client(self.address, set_as_default=False)
        return self._client

    def processes(self) -> dict[str, int]:
        """Process ids by the workers' addresses."""
        pids: dict[str, int] = self.client.run(os.getpid)
        return pids

    def busy_with(self, codec: str) -> str:
        """A worker that has a task of that codec in its hands, empty if none has."""
        for address, keys in self.client.processing().items():
            if any(key.startswith(f"zllm-{codec}") for key in keys):
                return str(address)
        return ""

    def tasks_done(self) -> list[int]:
        """By each worker."""
        done: dict[str, int] = self.client.run(lambda dask_worker: dask_worker.state.executed_count)
        return list(done.values())

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError, TimeoutError):
                self._client.close(timeout=5)
        for process in [*self.workers, self.scheduler]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        self._files.close()


@contextlib.contextmanager
def farm(folder: Path) -> Iterator[Farm]:
    made = Farm(folder)
    try:
        yield made
    finally:
        made.close()
