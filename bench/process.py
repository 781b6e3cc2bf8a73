"""Fresh processes, measured from their start to the last byte that they write."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zllm
from bench.common import ROOT
from zllm.benchmark.rivals import same
from zllm.errors import ZllmError

_READ = 1 << 20
_SAMPLE_SECONDS = 0.01


@dataclass(frozen=True)
class Finished:
    """A process that ended well. ``first_byte``: seconds until it wrote something, not a number if it never did.

    ``said``: what it wrote to stderr.
    """

    seconds: float
    first_byte: float
    peak_mb: float
    said: str = ""


def run_zllm(
    *arguments: str | Path,
    kernel: str | None = None,
    out: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """``zllm`` as a user runs it; what it writes to stdout goes to ``out``."""
    return run([sys.executable, "-m", "zllm", *map(str, arguments)], kernel, out, environment)


def run(
    command: Sequence[str],
    kernel: str | None = None,
    out: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command, whose paths are absolute, with this zllm and this bench at hand and ``environment`` besides.

    Raises:
        ZllmError: it failed; the message is its last line.
    """
    with tempfile.TemporaryFile() as errors, open(out or os.devnull, "wb") as target:
        # Not where this was called: a checkout there would come before the zllm that is meant.
        where, variables = os.sep, {**environment_of(kernel), **(environment or {})}
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=where, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as child:
            peak = _Peak(child.pid)
            first = math.nan
            pipe = child.stdout.fileno() if child.stdout else -1
            while block := os.read(pipe, _READ):
                if math.isnan(first):
                    first = time.perf_counter() - started
                target.write(block)
            # Sampling ends before the process is reaped: its number is nobody else's until then.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - started
            peak_mb = peak.stop()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
        if child.returncode:
            lines = said.strip().splitlines()
            raise ZllmError(f"{' '.join(command[1:5])} ended with {child.returncode}: {lines[-1] if lines else ''}")
    return Finished(seconds, first, peak_mb, said)


def environment_of(kernel: str | None = None) -> dict[str, str]:
    """The zllm that runs here, wherever it is, and this checkout's bench after it."""
    folders = [str(Path(zllm.__file__).parent.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    return environment | ({"ZLLM_KERNEL": kernel} if kernel else {})


class _Peak:
    """Peak memory of another process, read while it runs.

    What the system reports once it has ended (``ru_maxrss``) is at least what this process had when it started it.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._kilobytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            self._sample()
            if self._ended.wait(_SAMPLE_SECONDS):
                return

    def _sample(self) -> None:
        try:
            text = self._status.read_text()
        except OSError:
            return
        at = text.find("VmHWM:")
        if at >= 0:
            self._kilobytes = max(self._kilobytes, int(text[at:].split(maxsplit=2)[1]))

    def stop(self) -> float:
        """MB (10^6 bytes)."""
        self._ended.set()
        self._thread.join()
        kilobytes = self._kilobytes or resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return kilobytes * 1024 / 1e6


def codecs_of(archive: Path) -> str:
    """Names of the codecs that the members of an archive use, joined by ``+``."""
    with zllm.open(archive) as opened:
        infos = [info for info in opened.getmembers() if isinstance(info, zllm.ZllmInfo)]
        return "+".join(sorted({str(codec) for info in infos for codec in info.codecs}))


@dataclass(frozen=True)
class Trip:
    """One file packed by ``zllm create`` and read by ``zllm cat``, each in a process of its own."""

    size: int
    coded: int
    codecs: str
    exact: bool
    encode: Finished
    decode: Finished

    def kb_s(self, way: str) -> float:
        """KB (1,000 bytes) of the file a second, start-up included."""
        return self.size / 1000 / self._times(way).seconds

    @property
    def balance(self) -> float:
        """The decoding speed over the encoding speed."""
        return self.encode.seconds / self.decode.seconds

    @property
    def peak_mb(self) -> float:
        """The larger of both peaks."""
        return max(self.encode.peak_mb, self.decode.peak_mb)

    def _times(self, way: str) -> Finished:
        return self.encode if way == "encode" else self.decode


def round_trip(
    text: Path, scratch: Path, threads: int, kernel: str | None = None, *, level: int | None = None, repeats: int = 1
) -> Trip:
    """Pack and read ``text``; of several repeats the fastest of each way."""
    archive, out = scratch / "trip.zllm", scratch / "trip.out"
    create = ["create", "--force", "-j", str(threads), *(("--level", str(level)) if level else ())]
    encoded = [
        run_zllm(*create, archive, "-C", text.parent, text.name, kernel=kernel) for _ in range(repeats)
    ]  # fmt: skip
    decoded = [run_zllm("cat", "-j", str(threads), archive, text.name, kernel=kernel, out=out) for _ in range(repeats)]
    return Trip(
        size=text.stat().st_size,
        coded=archive.stat().st_size,
        codecs=codecs_of(archive),
        exact=same(text, out),
        encode=min(encoded, key=lambda done: done.seconds),
        decode=min(decoded, key=lambda done: done.seconds),
    )
