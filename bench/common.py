"""What several benchmarks share: where files are, options, tables, and results as CSV."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zllm._native import usable_kernels

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
# The texts lie beside the repository, not in it: they are for measuring only.
DATA = ROOT.parent / "shared" / "bench"
CORPUS = ROOT.parent / "shared" / "corpus"

Row = dict[str, object]


def parser(name: str, description: str, coding: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have; ``coding``: and those that say how zllm packs."""
    result = argparse.ArgumentParser(prog=f"python -m bench {name}", description=description)
    if coding:
        result.add_argument("--level", type=int, default=6, help="zllm's level (default: %(default)s)")
        result.add_argument("--model", help="model name or file (default: the built-in one)")
        result.add_argument("--no-llm", action="store_true", help="without a model")
    result.add_argument("--results", type=Path, default=RESULTS, help="folder for the CSV (default: bench/results)")
    return result


def say(text: str) -> None:
    """To stderr: what runs now."""
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
    """Write rows to ``path``, where rows about something else stay: ``about`` names the columns that say about what."""
    old: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if list(row) == list(rows[0])]
    new = {tuple(str(row[name]) for name in about): row for row in rows}
    merged = [new.pop(tuple(row[name] for name in about), row) for row in old]
    write_csv(path, [*merged, *new.values()])


def keeps(given: argparse.Namespace) -> bool:
    """Whether results are written: what a quick run finds is not to replace what was measured."""
    return not given.quick or given.results != RESULTS


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as aligned text: words to the left, numbers to the right."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [isinstance(value, str) and value != "" for value in rows[0].values()]
    lines = (
        "  ".join(c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(line, widths, left, strict=True))
        for line in cells
    )
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)


@dataclass(frozen=True)
class Settings:
    """How the parts of ``speed`` run. ``size``: bytes of text instead of each part's own."""

    data: Path
    corpus: Path
    scratch: Path
    quick: bool = False
    size: int | None = None
    kernels: Sequence[str] = ()
    models: Sequence[str] = ()
    threads: Sequence[int] = ()

    def bytes(self, full: int, quick: int) -> int:
        """How much text a part takes that would take ``full``."""
        return self.size or (quick if self.quick else full)

    def wanted_kernels(self) -> list[str]:
        """The kernels given; by default those that can run here but the scalar one, or that where it is alone."""
        usable = usable_kernels()
        return list(self.kernels) or [name for name in usable if name != "generic"] or usable


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
        """Whether it is; what could not be measured (not a number) is not."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def row(self) -> Row:
        """For tables and CSV."""
        sign = "<=" if self.at_most else ">="
        row: Row = {"target": self.what, "value": round(self.value, 4), "limit": f"{sign} {self.limit:g}"}
        return row | {"met": ("yes" if self.met else "NO") if self.measured else "not measured"}


@dataclass
class Outcome:
    """What a part found. ``wrong``: what did not come back exactly. ``about``: the columns that say what a row is
    about, if it is to replace only that row of an earlier run.
    """

    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    about: tuple[str, ...] = ()

    def report(self, judge: bool) -> str:
        """For people; ``judge``: with the targets."""
        text = table(self.rows) if self.rows else ""
        if judge and self.targets:
            text += "\n" + table([target.row() for target in self.targets])
        text += "".join(f"  {note}\n" for note in self.notes)
        return text + "".join(f"  WRONG: {what}\n" for what in self.wrong)
