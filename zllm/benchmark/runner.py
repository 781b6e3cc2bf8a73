"""Runs contenders over workloads."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zllm.benchmark.hybrid import Hybrid
from zllm.benchmark.report import Report, Row, Section
from zllm.benchmark.rivals import Contender, RivalError, installed
from zllm.benchmark.workload import Workload, by_category, snapshot
from zllm.errors import UsageError
from zllm.planner.levels import DEFAULT_LEVEL


@dataclass(frozen=True)
class BenchOptions:
    """What to compare, and how.

    ``rivals``: names as in the table (``zstd -19``), None for all that are installed. ``categories``: also each
    category of files by itself. ``progress`` is told what runs next.
    """

    level: int = DEFAULT_LEVEL
    model: str | Sequence[str] | None = None
    llm: bool = True
    threads: int | None = None
    rivals: Sequence[str] | None = None
    categories: bool = True
    progress: Callable[[str], None] | None = None


def run(root: Path, options: BenchOptions | None = None) -> Report:
    """Compare on all regular files under ``root``. Needs about five times their size in temporary space.

    Raises:
        UsageError: there is nothing to compress.
        ZllmError: a rival is unknown, or failed.
    """
    options = options or BenchOptions()
    rivals, notes = installed(options.rivals)
    hybrid = Hybrid(options.level, options.model, options.llm, options.threads)
    settings: dict[str, str | int | None] = {
        "folder": str(root),
        "level": options.level,
        "model": _models(options.model) if options.llm else "none",
        "threads": options.threads,
    }
    report = Report(settings, notes=notes)
    with tempfile.TemporaryDirectory(prefix="zllm-bench-") as name:
        scratch = Path(name)
        whole = snapshot(root, scratch / "all.tar")
        if not whole.raw:
            raise UsageError(f"no data in {root}")
        parts = by_category(whole, scratch) if options.categories else []
        # One category only: it is the whole.
        for work in [whole, *(parts if len(parts) > 1 else ())]:
            section, failures = compare(work, [hybrid, *rivals], scratch, options.progress)
            report.sections.append(section)
            report.notes.extend(failures)
    report.notes.extend(hybrid.notes)
    return report


def compare(
    work: Workload, contenders: Sequence[Contender], scratch: Path, progress: Callable[[str], None] | None = None
) -> tuple[Section, list[str]]:
    """Each contender on one workload, one after the other, and notes on those that failed.

    ``scratch`` is a folder for their output.
    """
    rows, failures = [], []
    for contender in contenders:
        if progress is not None:
            progress(f"{work.title}: {contender.name}")
        try:
            rows.append(measure(work, contender, scratch))
        except RivalError as error:
            failures.append(f"{work.title}: {error}")
    return Section(work.title, work.files, work.raw, tuple(rows)), failures


def measure(work: Workload, contender: Contender, scratch: Path) -> Row:
    """Encode, decode, compare; both times are wall clock."""
    folder = scratch / "output"
    folder.mkdir()
    coded = scratch / f"coded{contender.suffix}"
    try:
        started = time.perf_counter()
        contender.encode(work, coded)
        encoded = time.perf_counter()
        exact = contender.decode(work, coded, folder)
        decoded = time.perf_counter()
        size, model_bytes = coded.stat().st_size, contender.model_bytes(coded)
    finally:
        shutil.rmtree(folder)
        coded.unlink(missing_ok=True)
    return Row(contender.name, size, contender.fixed, encoded - started, decoded - encoded, exact, model_bytes)


def _models(named: str | Sequence[str] | None) -> str | None:
    return named if named is None or isinstance(named, str) else ", ".join(named)
