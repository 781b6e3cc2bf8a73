"""What several benchmarks share: options, tables, targets, and results as CSV."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zllm.benchmark.report import aligned

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

Row = dict[str, object]


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    result = argparse.ArgumentParser(prog=f"python -m bench {name}", description=description)
    result.add_argument(
        "--results", type=Path, metavar="DIR", default=RESULTS, help="folder for the CSV (default: bench/results)"
    )
    return result


def add_texts(options: argparse.ArgumentParser) -> None:
    """Add the arguments that say where texts are read from."""
    options.add_argument("data", type=Path, metavar="FOLDER", help="folder with the files to measure on")
    options.add_argument("--corpus", type=Path, metavar="FOLDER", help="folder with val.txt and val.tsv, for more text")


def add_run(options: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks that run kernel by kernel."""
    options.add_argument("--quick", action="store_true", help="little text: shows that it runs, not how fast")
    options.add_argument(
        "--bytes", type=int, metavar="N", help="bytes of text (default: as many as the benchmark needs)"
    )
    options.add_argument("--kernels", nargs="+", metavar="KERNEL", default=(), help="only these kernels")


def say(text: str) -> None:
    """Write a line to stderr: what runs now."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with the same keys to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def merge_csv(path: Path, rows: Sequence[Mapping[str, object]], about: Sequence[str]) -> None:
    """Write rows to ``path`` and keep rows about something else; the columns ``about`` say what a row is about."""
    old: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if list(row) == list(rows[0])]
    new = {tuple(str(row[name]) for name in about): row for row in rows}
    merged = [new.pop(tuple(row[name] for name in about), row) for row in old]
    write_csv(path, [*merged, *new.values()])


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as aligned text: words to the left, numbers to the right."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    left = {place for place, value in enumerate(rows[0].values()) if isinstance(value, str) and value}
    return "".join(f"{line}\n" for line in aligned(cells, left))


@dataclass(frozen=True)
class Target:
    """A figure that has to be at least (or, with ``at_most``, at most) ``limit``."""

    what: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def measured(self) -> bool:
        """Whether there is a figure."""
        return not math.isnan(self.value)

    @property
    def met(self) -> bool:
        """Whether the limit is kept. What could not be measured (not a number) is not met."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def row(self) -> Row:
        """The target as a row of a table."""
        sign = "<=" if self.at_most else ">="
        row: Row = {"target": self.what, "value": round(self.value, 4), "limit": f"{sign} {self.limit:g}"}
        return row | {"met": ("yes" if self.met else "NO") if self.measured else "not measured"}


@dataclass
class Outcome:
    """What a benchmark found. ``wrong``: what did not come back exactly. ``about``: the columns that say what a row is
    about, if a row is to replace only that row of an earlier run.
    """

    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    about: tuple[str, ...] = ()

    def report(self, judge: bool) -> str:
        """The outcome for people; ``judge``: with the targets."""
        text = table(self.rows) if self.rows else ""
        if judge and self.targets:
            text += "\n" + table([target.row() for target in self.targets])
        text += "".join(f"  {note}\n" for note in self.notes)
        return text + "".join(f"  WRONG: {what}\n" for what in self.wrong)

    def finish(self, name: str, given: argparse.Namespace) -> int:
        """Print the report and write the rows to the results as NAME.csv.

        With ``--quick`` nothing is judged, and what was measured before is not replaced. The exit code is 1 if
        anything did not come back exactly or a target was missed.
        """
        sys.stdout.write(self.report(judge=not given.quick))
        path = given.results / f"{name}.csv"
        if self.rows and not (given.quick and given.results == RESULTS):
            if self.about:
                merge_csv(path, self.rows, self.about)
            else:
                write_csv(path, self.rows)
        missed = not given.quick and not all(target.met for target in self.targets)
        return 1 if self.wrong or missed else 0
