"""Peak memory of creating and of extracting an archive of mixed members, each in a fresh process.

The members are generated while they are read and checked against the same generator afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.common import parser, say, write_csv
from bench.mixture import Member, mixture
from bench.process import environment_of
from zllm.cli.statistics import peak_memory
from zllm.errors import DamagedError, ZllmError

_COPY = 1 << 20
LIMIT_MB = 300


def main(arguments: list[str]) -> int:
    """Run; exit code 1 if either peak is above 300 MB."""
    options = parser("memory", __doc__ or "")
    options.add_argument("--level", type=int, default=6, help="zllm's level (default: %(default)s)")
    options.add_argument("--model", help="model name or file (default: the built-in one)")
    options.add_argument("--no-llm", action="store_true", help="without a model")
    options.add_argument("--size", type=float, metavar="N", default=1e9, help="bytes in all (default: 1e9)")
    options.add_argument(
        "--text", type=float, metavar="SHARE", default=0.01, help="share of prose (default: %(default)s)"
    )
    options.add_argument("--threads", type=int, metavar="N", default=2, help="zllm's threads (default: %(default)s)")
    options.add_argument(
        "--limit-mb",
        type=int,
        metavar="N",
        default=LIMIT_MB,
        help="the target: peak memory in MB (default: %(default)s)",
    )
    options.add_argument("--role", choices=["create", "extract"], help=argparse.SUPPRESS)
    options.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.role == "create":
        return _create(given)
    if given.role == "extract":
        return _extract(given)
    with tempfile.TemporaryDirectory(prefix="zllm-memory-") as name:
        archive, folder = Path(name) / "a.zllm", Path(name) / "out"
        rows = [_child(role, arguments, archive, folder) for role in ("create", "extract")]
        members = _check(mixture(int(given.size), given.text), folder)
        coded = archive.stat().st_size
    say(f"{members} members, {int(given.size):,} bytes, archive {coded:,} bytes; every byte came back")
    for row in rows:
        sys.stdout.write(f"{row['what']}: peak {row['peak_mb']} MB, {row['seconds']} s\n")
    facts = {"bytes": int(given.size), "members": members, "text_share": given.text, "level": given.level}
    write_csv(given.results / "memory.csv", [facts | row for row in rows])
    return 0 if all(float(str(row["peak_mb"])) < given.limit_mb for row in rows) else 1


def _child(role: str, arguments: list[str], archive: Path, folder: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "bench", "memory", *arguments, "--role", role]
    command += ["--archive", str(archive), "--folder", str(folder)]
    say(role)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=os.sep, env=environment_of(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise ZllmError(f"{role} ended with exit code {done.returncode}")
    seconds = round(time.perf_counter() - started, 1)
    return {"what": role, "peak_mb": json.loads(done.stdout)["peak_mb"], "seconds": seconds}


def _create(given: argparse.Namespace) -> int:
    import zllm

    with zllm.open(
        given.archive, "w", level=given.level, model=given.model, llm=not given.no_llm, threads=given.threads
    ) as out:
        for member in mixture(int(given.size), given.text):
            info = tarfile.TarInfo(member.name)
            info.size = member.size
            with member.open() as file:
                out.addfile(info, file)
    return _report()


def _extract(given: argparse.Namespace) -> int:
    import zllm

    with zllm.open(given.archive, threads=given.threads) as archive:
        archive.extractall(given.folder, filter="data")
    return _report()


def _report() -> int:
    peak = peak_memory()
    if peak is None:
        raise ZllmError("this system does not say how much memory a process took")
    sys.stdout.write(json.dumps({"peak_mb": round(peak / 1e6, 1)}))
    return 0


def _check(members: Iterable[Member], folder: Path) -> int:
    count = 0
    for member in members:
        count += 1
        if not _same(member, folder / member.name):
            raise DamagedError("what was extracted is not what was archived", member=member.name)
    return count


def _same(member: Member, path: Path) -> bool:
    if path.stat().st_size != member.size:
        return False
    with member.open() as expected, path.open("rb") as got:
        while block := expected.read(_COPY):
            if got.read(len(block)) != block:
                return False
    return True
