"""What extracting one small member costs at each level: `zllm cat` of 2 KB from the middle of a large archive.

The archive has some thousands of small text files, and is large enough for the largest frames of any level to be full:
a member costs its whole frame. Seconds are those of whole processes, from their start to their last byte, the best of
several where they are short; processor time is what `--stats` says. `--levels` replaces the rows of these levels only.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from bench.common import CORPUS, DATA, Row, keeps, parser, say, table, write_csv
from bench.process import Finished, run_zllm
from bench.texts import text
from zllm.benchmark.rivals import same
from zllm.errors import ZllmError
from zllm.planner.levels import LEVELS

_FULL, _QUICK = 20 << 20, 60_000
_MEMBER = 2000
_REPEATS, _LONG = 5, 2.0


def main(arguments: list[str]) -> int:
    """Run.

    Raises:
        ZllmError: a member did not come back.
    """
    given = _options().parse_args(arguments)
    path = given.results / "extraction.csv"
    with tempfile.TemporaryDirectory(prefix="zllm-extraction-") as scratch:
        size = given.bytes or (_QUICK if given.quick else _FULL)
        members = _write(text(given.data, given.corpus, size), Path(scratch))
        found = {level: _measure(level, members, given.threads, Path(scratch)) for level in given.levels}
    rows = [row for _, row in sorted((_rows(path) | found).items())]
    sys.stdout.write(table(rows))
    if keeps(given):
        write_csv(path, rows)
    return 0


def _options() -> ArgumentParser:
    options = parser("extraction", __doc__ or "", coding=False)
    options.add_argument("--quick", action="store_true", help="a small archive: whether it runs")
    options.add_argument("--bytes", type=int, help=f"of text in the archive (default: {_FULL:,})")
    options.add_argument("--levels", type=int, nargs="+", choices=LEVELS, default=list(LEVELS), help="(default: all)")
    options.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    options.add_argument("--data", type=Path, default=DATA, help="folder of the texts (default: ../shared/bench)")
    options.add_argument("--corpus", type=Path, default=CORPUS, help="more text (default: ../shared/corpus)")
    return options


def _write(content: bytes, scratch: Path) -> list[Path]:
    """The text as files of whole lines, of 2 KB each or as much more as the last line has."""
    paths: list[Path] = []
    start = 0
    while start < len(content):
        end = content.find(b"\n", start + _MEMBER - 1) + 1 or len(content)
        path = scratch / "texts" / f"{len(paths) // 100:03}" / f"{len(paths):05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[start:end])
        paths.append(path)
        start = end
    return paths


def _measure(level: int, members: list[Path], threads: int, scratch: Path) -> Row:
    archive, out, root = scratch / "a.zllm", scratch / "out", scratch / "texts"
    say(f"extraction: level {level}, {len(members):,} members")
    create = ("create", "-q", "--force", f"-{level}", "-j", str(threads), archive, "-C", scratch, root.name)
    created = run_zllm(*create)
    member = members[len(members) // 2]
    done = _cat(archive, member.relative_to(scratch), threads, out)
    if not same(out, member):
        raise ZllmError(f"level {level}: the member did not come back")
    return {
        "level": level,
        "members": len(members),
        "bytes": sum(path.stat().st_size for path in members),
        "archive": archive.stat().st_size,
        "create_s": round(created.seconds, 1),
        "member": member.stat().st_size,
        **_decoded(done),
        "seconds": round(done.seconds, 3),
        "processor_s": _processor(done),
        "peak_mb": round(done.peak_mb, 1),
    }


def _cat(archive: Path, name: Path, threads: int, out: Path) -> Finished:
    """The fastest run, of several unless they are long."""
    best = None
    for _ in range(_REPEATS):
        done = run_zllm("cat", "--stats", "-j", str(threads), archive, str(name), out=out)
        best = done if best is None or done.seconds < best.seconds else best
        if done.seconds > _LONG:
            break
    if best is None:
        raise ZllmError("nothing was run")
    return best


def _decoded(done: Finished) -> Row:
    """From the table of codecs that `--stats` prints: which, bytes of text that were decoded, and read for them."""
    lines = [line.split() for line in done.said.splitlines()]
    first = next(number for number, words in enumerate(lines) if words[:1] == ["codec"])
    *codecs, everything = lines[first + 1 : lines.index([], first)]
    decoded, read = (int(word.replace(",", "")) for word in everything[2:4])
    return {"codec": "+".join(words[0] for words in codecs), "decoded": decoded, "read": read}


def _processor(done: Finished) -> str:
    """Seconds, from the last line of `--stats`."""
    return done.said.splitlines()[-1].split(" by the clock, ")[1].split()[0]


def _rows(path: Path) -> dict[int, Row]:
    """Those of an earlier run, by level."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {int(row["level"]): dict(row) for row in csv.DictReader(file)}
