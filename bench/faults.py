"""What damage costs: archives of 100 files with one bit flipped, a burst overwritten, or the end cut off.

Every damaged archive is extracted by a process, as a user would, and every file is compared. A flip is silent if
something is wrong or missing and the exit code is 0.
"""

from __future__ import annotations

import argparse
import compileall
import math
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import Outcome, Row, Target, parser, say
from bench.process import environment_of
from zllm.errors import UsageError

FILES, SIZE = 100, 2_000_000
"""Files, and their bytes together, about."""
_TIME = 1_700_000_000
_TAIL, _BURST = 64 << 10, 0.02
_QUICK_FLIPS = 4
LEAST_RIGHT = 87
"""Of 100 files, in the mean over flips, without parity."""


@dataclass(frozen=True)
class Format:
    """How one kind of archive is made of the folder ``files``, and extracted into the folder ``out``: shell commands in
    which ``{archive}`` is the archive. ``slow``: decoding takes seconds. ``parity``: its share of the archive.
    """

    name: str
    pack: str
    unpack: str
    needs: str = ""
    slow: bool = False
    parity: int | None = None


def _zllm(level: int, parity: int, options: str = "") -> Format:
    name = f"zllm -{level}{options and ' ' + options}" + (f" --parity {parity}%" if parity else "")
    given = f"--parity {parity}%" if parity else ""
    pack = f"{{zllm}} create -q --reproducible -{level} {options} {given} {{archive}} files"
    return Format(name, pack, "{zllm} extract -q {archive} -C out", slow=level > 5, parity=parity)


FORMATS = (
    *(_zllm(level, parity) for level in (3, 6, 9) for parity in (0, 1, 2, 5)),
    Format("tar", "tar -cf {archive} files", "tar -xf {archive} -C out"),
    Format(
        "tar.zst -19", "tar -cf - files | zstd -q -19 -o {archive}", "zstd -q -dc {archive} | tar -xf - -C out", "zstd"
    ),
    Format("7z", "7z a -t7z {archive} files", "7z x -y -oout {archive}", "7z"),
    Format("zip", "zip -q -9 -r {archive} files", "unzip -q -o {archive} -d out", "zip"),
)


@dataclass
class Tally:
    """What came of one kind of damage. ``right``: files that were right, of each archive that was damaged."""

    right: list[int] = field(default_factory=list)
    wrong: int = 0
    silent: int = 0

    def mean(self, what: float) -> float:
        """``what`` over the number of damaged archives."""
        return round(what / len(self.right), 2) if self.right else math.nan


def material(folder: Path, files: int = FILES, size: int = SIZE) -> dict[str, bytes]:
    """Files of the library of the Python that runs, taken evenly over it, three in four of them sources and the others
    compiled; what is in ``folder`` then.
    """
    library = Path(os.__file__).parent
    sources = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    near = sorted(sources, key=lambda path: abs(path.stat().st_size - size // files))[: 4 * files]
    chosen = sorted(near)[:: len(near) // files][:files]
    for number, path in enumerate(chosen):
        target = folder / f"{number:03}-{path.name}"
        shutil.copyfile(path, target)
        if number % 4 == 3:
            compileall.compile_file(target, quiet=1, legacy=True, stripdir=str(folder))
            target.unlink()
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for path in folder.iterdir():
        path.chmod(0o644)
        os.utime(path, (_TIME, _TIME))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Experiment:
    """One format: its archive, damaged again and again."""

    def __init__(self, kind: Format, scratch: Path, files: dict[str, bytes]) -> None:
        self.kind = kind
        self._scratch = scratch
        self._files = files
        self._archive = scratch / "archive.bin"
        self._archive.unlink(missing_ok=True)
        done = self._run(kind.pack)
        if done.returncode:
            raise UsageError(f"{kind.name}: not made: {done.stderr.strip().splitlines()[-1:]}")
        self.data = self._archive.read_bytes()

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        zllm = f"{shlex.quote(sys.executable)} -m zllm"
        line = f"set -o pipefail; {command.format(zllm=zllm, archive=shlex.quote(str(self._archive)))}"
        return subprocess.run(
            ["bash", "-c", line], cwd=self._scratch, env=environment_of(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
        )  # fmt: skip

    def damaged(self, archives: Iterable[bytes]) -> Tally:
        """Extract each of these."""
        tally = Tally()
        for data in archives:
            self._archive.write_bytes(data)
            out = self._scratch / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            code = self._run(self.kind.unpack).returncode
            found = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
            right = sum(found.get(name) == content for name, content in self._files.items())
            tally.right.append(right)
            tally.wrong += len(found) - right
            tally.silent += not code and (right < len(self._files) or len(found) != right)
        return tally

    def flipped(self, count: int) -> Iterable[bytes]:
        """The archive with one bit flipped, so many times; the same places for archives of the same size."""
        rng = random.Random(len(self.data))
        for _ in range(count):
            bad = bytearray(self.data)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            yield bytes(bad)

    def bursts(self, count: int) -> Iterable[bytes]:
        """The archive with 2% of it, at some place, overwritten by random bytes."""
        rng = random.Random(len(self.data) + 1)
        size = math.ceil(len(self.data) * _BURST)
        for _ in range(count):
            at = rng.randrange(len(self.data) - size)
            yield self.data[:at] + rng.randbytes(size) + self.data[at + size :]


def measure(one: Experiment, flips: int, bursts: int) -> Row:
    """All damage to one archive: a row of the table."""
    size = len(one.data)
    flipped = one.damaged(one.flipped(flips))
    half = one.damaged([one.data[: size // 2]])
    tail = one.damaged([one.data[: max(0, size - _TAIL)]])
    burst = one.damaged(one.bursts(bursts))
    every = (flipped, half, tail, burst)
    return {
        "format": one.kind.name,
        "size": size,
        "flips": flips,
        "right": flipped.mean(sum(flipped.right)),
        "worst_flip": min(flipped.right),
        "wrong_left": flipped.mean(flipped.wrong),
        "silent": flipped.silent,
        "cut_at_half": half.right[0],
        "tail_cut": tail.right[0],
        "burst": burst.mean(sum(burst.right)),
        "worst_burst": min(burst.right),
        "wrong_of_all": sum(tally.wrong for tally in every),
        "silent_of_all": sum(tally.silent for tally in every),
    }


def _targets(row: Row, kind: Format, files: int) -> list[Target]:
    """What zllm has to reach."""
    if kind.parity is None:
        return []
    found = [
        Target(f"{kind.name}: wrong files left", float(str(row["wrong_of_all"])), 0, at_most=True),
        Target(f"{kind.name}: silent", float(str(row["silent_of_all"])), 0, at_most=True),
        Target(f"{kind.name}: right after a flip", float(str(row["right"])), LEAST_RIGHT * files / 100),
    ]
    if kind.parity >= 2:
        found.append(Target(f"{kind.name}: worst flip", float(str(row["worst_flip"])), files))
    if kind.parity >= 5:
        found.append(Target(f"{kind.name}: worst burst", float(str(row["worst_burst"])), files))
    return found


def main(arguments: list[str]) -> int:
    """Run; the exit code is 1 if zllm left anything wrong, was silent, or missed a target."""
    options = parser("faults", __doc__ or "")
    options.add_argument("--quick", action="store_true", help="few flips: shows that it runs")
    options.add_argument("--flips", type=int, default=1000, metavar="N", help="bits to flip (default: %(default)s)")
    options.add_argument(
        "--slow-flips",
        type=int,
        default=40,
        metavar="N",
        help="of slow levels (default: %(default)s)",
    )
    options.add_argument("--bursts", type=int, default=20, metavar="N", help="bursts (default: %(default)s)")
    options.add_argument("--files", type=int, default=FILES, metavar="N", help="files (default: %(default)s)")
    options.add_argument("--only", default="", metavar="TEXT", help="formats whose name begins with this")
    given = options.parse_args(arguments)
    outcome = Outcome(about=("format",))
    with tempfile.TemporaryDirectory(prefix="zllm-faults-") as name:
        _measure_all(given, Path(name), outcome)
    if not outcome.rows:
        raise UsageError(f"no format whose name begins with '{given.only}'")
    return outcome.finish("faults", given)


def _measure_all(given: argparse.Namespace, scratch: Path, outcome: Outcome) -> None:
    folder = scratch / "files"
    folder.mkdir()
    files = material(folder, given.files, given.files * SIZE // FILES)
    count: Callable[[int], int] = lambda number: min(number, _QUICK_FLIPS) if given.quick else number  # noqa: E731
    for kind in FORMATS:
        if not kind.name.startswith(given.only):
            continue
        if kind.needs and shutil.which(kind.needs) is None:
            outcome.notes.append(f"{kind.name}: left out: {kind.needs} is not installed")
            continue
        say(f"faults: {kind.name}")
        try:
            one = Experiment(kind, scratch, files)
        except UsageError as error:
            outcome.notes.append(str(error))
            continue
        row = measure(one, count(given.slow_flips if kind.slow else given.flips), count(given.bursts))
        outcome.rows.append(row)
        outcome.targets += _targets(row, kind, len(files))
        outcome.wrong += [kind.name] * (kind.parity is not None and bool(row["wrong_of_all"]))
