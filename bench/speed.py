"""How fast, how efficient and how exact: all parts, or some, as tables and as CSV.

Ratios are of figures from one run; absolute figures are of this machine, and of whatever else it was doing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import balance, coder, efficiency, exact, peers, scaling
from bench.common import CORPUS, DATA, Outcome, Row, Settings, keeps, merge_csv, parser, say, table, write_csv

PARTS: dict[str, Callable[[Settings], Outcome]] = {
    "peers": peers.measure,
    "efficiency": efficiency.measure,
    "balance": balance.measure,
    "scaling": scaling.measure,
    "coder": coder.measure,
    "exact": exact.measure,
}


def main(arguments: list[str], part: str | None = None) -> int:
    """Run all parts, those given, or only ``part``.

    The exit code is 1 if anything did not come back exactly or (unless ``--quick``) a target was missed.
    """
    given = _options(part).parse_args(arguments)
    results = given.results if keeps(given) else None
    judged: list[Row] = []
    wrong = False
    for name in given.part:
        outcome = _run(name, given)
        sys.stdout.write(f"{name}\n{outcome.report(judge=not given.quick)}\n")
        sys.stdout.flush()
        judged += [{"part": name} | target.row() for target in outcome.targets]
        wrong = wrong or bool(outcome.wrong)
        if results and outcome.rows:
            _keep(results / f"speed_{name}.csv", outcome)
    missed = [row for row in judged if row["met"] != "yes"]
    if results and list(given.part) == list(PARTS):
        write_csv(results / "speed.csv", judged)
    if not given.quick:
        sys.stdout.write(f"{len(judged) - len(missed)} of {len(judged)} targets met\n")
        # A part alone has just shown them.
        sys.stdout.write(table(missed) if missed and len(given.part) > 1 else "")
    return 1 if wrong or (missed and not given.quick) else 0


def _keep(path: Path, outcome: Outcome) -> None:
    if outcome.about:
        merge_csv(path, outcome.rows, outcome.about)
    else:
        write_csv(path, outcome.rows)


def _options(part: str | None) -> argparse.ArgumentParser:
    options = parser(part or "speed", (sys.modules[PARTS[part].__module__].__doc__ if part else __doc__) or "", False)
    if part:
        options.set_defaults(part=[part])
    else:
        options.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="only these (default: all)")
    options.add_argument("--quick", action="store_true", help="little of everything: whether it runs, not how fast")
    options.add_argument("--bytes", type=int, help="of text in each part (scaling: the shortest; coder: decisions)")
    options.add_argument("--data", type=Path, default=DATA, help="folder of the texts (default: ../shared/bench)")
    options.add_argument("--corpus", type=Path, default=CORPUS, help="more text (default: ../shared/corpus)")
    options.add_argument("--kernels", nargs="+", default=(), help="(default: all that run here but the scalar one)")
    options.add_argument("--models", nargs="+", default=(), help="in efficiency: of 2M, 6M, 16M, 135M (default: all)")
    options.add_argument("--threads", type=int, nargs="+", default=(), help="in all parts but balance and coder")
    return options


def _run(name: str, given: argparse.Namespace) -> Outcome:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="zllm-speed-") as scratch:
        outcome = PARTS[name](
            Settings(
                data=given.data,
                corpus=given.corpus,
                scratch=Path(scratch),
                quick=given.quick,
                size=given.bytes,
                kernels=given.kernels,
                models=given.models,
                threads=given.threads,
            )
        )
    say(f"{name}: {time.perf_counter() - started:.0f} s")
    return outcome
