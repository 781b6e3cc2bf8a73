"""Fresh processes, measured from their start to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import zllm
from bench.common import ROOT
from zllm.benchmark.rivals import same
from zllm.errors import ZllmError


@dataclass(frozen=True)
class Finished:
    """A process that ended well: how long it took, and what it wrote to stderr."""

    seconds: float
    said: str = ""


def run_zllm(
    *arguments: str | Path,
    kernel: str | None = None,
    out: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``zllm`` as a user runs it; paths are absolute, and what it writes to stdout goes to ``out``.

    Raises:
        ZllmError: it failed; the message is its last line.
    """
    command = [sys.executable, "-m", "zllm", *map(str, arguments)]
    with open(out or os.devnull, "wb") as target:
        # Not in this folder: a checkout here would come before the zllm that is measured.
        where, variables = os.sep, {**environment_of(kernel), **(environment or {})}
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=where, env=variables, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.PIPE,
            text=True, errors="replace", check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ZllmError(f"{' '.join(command[1:5])} ended with {done.returncode}: {lines[-1] if lines else ''}")
    return Finished(seconds, done.stderr)


def environment_of(kernel: str | None = None) -> dict[str, str]:
    """The zllm that runs here, wherever it is, and this checkout's bench after it."""
    folders = [str(Path(zllm.__file__).parent.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    return environment | ({"ZLLM_KERNEL": kernel} if kernel else {})


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
        done = self.encode if way == "encode" else self.decode
        return self.size / 1000 / done.seconds


def round_trip(text: Path, scratch: Path, threads: int, kernel: str) -> Trip:
    """Pack and read the file ``text`` with so many threads and that kernel, at the default level."""
    archive, out = scratch / "trip.zllm", scratch / "trip.out"
    given = ("-j", str(threads))
    encoded = run_zllm("create", "--force", *given, archive, "-C", text.parent, text.name, kernel=kernel)
    decoded = run_zllm("cat", *given, archive, text.name, kernel=kernel, out=out)
    return Trip(
        size=text.stat().st_size,
        coded=archive.stat().st_size,
        codecs=codecs_of(archive),
        exact=same(text, out),
        encode=encoded,
        decode=decoded,
    )
