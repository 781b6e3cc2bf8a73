"""Sizes and speeds of zllm and of other compressors, text by text; every output is decoded and compared.

zllm is run as a user runs it, start-up included, with two threads; the others have one. What is compared with zpaq
is whole archives of zllm with zpaq's less the bytes that each of its archives costs.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import configurations
from bench.accounts import PPMD, WAYS, ZPAQ, ZSTD, Accounts, Entry, entries_of, load
from bench.common import Outcome, Row, Target, add_texts, parser, say, table
from bench.configurations import CM, CONFIGURATIONS, DEFAULT, FAST, Configuration, available
from bench.workloads import CANTERBURY, SMALL, VALIDATION, offers
from zllm.benchmark.rivals import Contender, Rival, installed
from zllm.benchmark.runner import compare
from zllm.errors import UsageError

RIVALS = ("zstd -19", "xz -9e", "brotli -q 11", "7z PPMd", "lpaq1 9", "zpaq -m5")
OF_ZPAQ, OF_ZSTD = 0.82, 0.63
WORST_OF_ZPAQ, DATA_OF_ZPAQ, SMALL_OF_ZPAQ, CM_OF_PPMD = 1.0, 0.9, 0.8, 0.95
DEFAULT_SPEED, FAST_SPEED = 0.25, 0.7
# What a log, a table or JSON has at least for history to carry it.
_MUCH = 500_000


def main(arguments: list[str]) -> int:
    """Run; the exit code is 1 if anything did not come back exactly, or a run of everything missed a target."""
    given = _options().parse_args(arguments)
    part = bool(given.only or given.names)
    ours, rivals, notes = _contenders(given.names)
    entries, wrong, failures = _measure(given, ours, rivals)
    path = given.results / "ratio.csv"
    old = load(path)
    accounts = (old if part else Accounts()).updated(entries)
    if given.sizes_only:
        accounts = accounts.with_times_of(old)
    accounts.save(path)
    measured = list(dict.fromkeys(entry.workload for entry in entries))
    judged = [target for target in targets(accounts) if target.measured or not part]
    sys.stdout.write(table(means(accounts)) + "\n")
    sys.stdout.write(Outcome(sizes(accounts, measured), judged, notes + failures, wrong).report(judge=True))
    missed = [target for target in judged if target.measured and not target.met]
    return 1 if wrong or (missed and not part) else 0


def _options() -> argparse.ArgumentParser:
    options = parser("ratio", __doc__ or "")
    add_texts(options)
    options.add_argument(
        "--only", metavar="TEXT", default="", help="workloads whose title contains this; other rows are kept"
    )
    options.add_argument("--names", nargs="+", metavar="NAME", help="only these, as in the table; other rows are kept")
    options.add_argument("--threads", type=int, metavar="N", default=2, help="zllm's threads (default: %(default)s)")
    options.add_argument("--sizes-only", action="store_true", help="keep the times that ratio.csv has")
    return options


def _contenders(names: Sequence[str] | None) -> tuple[list[Configuration], Sequence[Rival], list[str]]:
    """The configurations and rivals of these names (None: all) that are there; notes on rivals that are not."""
    known = [*(one.name for one in CONFIGURATIONS), *RIVALS]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise UsageError(f"unknown name: {', '.join(unknown)} (known: {', '.join(known)})")
    wanted = names or known
    rivals, notes = installed([name for name in RIVALS if name in wanted])
    return available([one for one in CONFIGURATIONS if one.name in wanted]), rivals, notes


def _measure(
    given: argparse.Namespace, ours: Sequence[Configuration], rivals: Sequence[Rival]
) -> tuple[list[Entry], list[str], list[str]]:
    """Entries, what did not come back exactly, and notes on rivals that failed."""
    entries: list[Entry] = []
    wrong: list[str] = []
    notes: list[str] = []
    for offer in offers(given.data, given.corpus):
        if given.only not in offer.title:
            continue
        with tempfile.TemporaryDirectory(prefix="zllm-ratio-") as made, tempfile.TemporaryDirectory() as scratch:
            case = offer.make(Path(made))
            contenders: list[Contender] = [*configurations.contenders(ours, case, given.threads), *rivals]
            section, failures = compare(case.work, contenders, Path(scratch), say)
        entries += entries_of(section)
        wrong += [f"{section.title}: {row.name}" for row in section.rows if not row.exact]
        notes += failures
    if not entries:
        raise UsageError(f"nothing to measure: no workload with '{given.only}', or no compressor to code it")
    return entries, wrong, notes


def sizes(accounts: Accounts, workloads: Sequence[str]) -> list[Row]:
    """For each workload the sizes over zpaq's net size, or where zpaq is not there over zstd's."""
    other = ZPAQ if ZPAQ in accounts.names() else ZSTD
    rows = []
    for workload in workloads:
        reference = accounts.find(workload, other)
        row: Row = {f"size / {other}": workload, "net": f"{reference.net_size:,}" if reference else "-"}
        rows.append(row | {name: _number(accounts.ratio(workload, name, other)) for name in accounts.names()})
    return rows


def means(accounts: Accounts) -> list[Row]:
    """For each configuration and rival: what it does over the texts of the first target, and over everything."""
    rows = []
    for name in accounts.names():
        row: Row = {"over the texts": name}
        row |= {f"/ {other}": _number(accounts.mean_ratio(texts(accounts), name, other)) for other in (ZPAQ, ZSTD)}
        for way in WAYS:
            row[f"{way} KB/s"] = _number(accounts.speed(texts(accounts), name, way))
            row[f"/ {ZPAQ}, {way}"] = _number(accounts.speed_ratio(texts(accounts), name, way))
        rows.append(row | {"bits/byte of all": _number(accounts.bits_per_byte(accounts.workloads(), name))})
    return rows


def categories(accounts: Accounts) -> list[str]:
    """Workloads that are a category of the validation text."""
    return [workload for workload in accounts.workloads() if workload.startswith(VALIDATION)]


def texts(accounts: Accounts) -> list[str]:
    """The categories and the Canterbury texts."""
    return [*categories(accounts), *(workload for workload in accounts.workloads() if workload in CANTERBURY)]


def targets(accounts: Accounts) -> list[Target]:
    """What has to be reached; what is not in the accounts has no figure."""
    among = texts(accounts)
    found = [
        Target(f"{DEFAULT} / {other}, geometric mean over {len(among)} texts", mean, limit, at_most=True)
        for other, limit in ((ZPAQ, OF_ZPAQ), (ZSTD, OF_ZSTD))
        for mean in [accounts.mean_ratio(among, DEFAULT, other)]
    ]
    found.append(_worst(accounts, DEFAULT, ZPAQ, WORST_OF_ZPAQ))
    for workload in _data(accounts) or ["logs, JSON and tables"]:
        ratio = accounts.ratio(workload, DEFAULT, ZPAQ)
        found.append(Target(f"{DEFAULT} / {ZPAQ}, {workload}", ratio, DATA_OF_ZPAQ, at_most=True))
    small = next((workload for workload in accounts.workloads() if SMALL in workload), SMALL)
    ratio = accounts.ratio(small, DEFAULT, ZPAQ)
    found.append(Target(f"{DEFAULT} / tar | {ZPAQ}, {small}", ratio, SMALL_OF_ZPAQ, at_most=True))
    for name, limit in ((DEFAULT, DEFAULT_SPEED), (FAST, FAST_SPEED)):
        for way in WAYS:
            speed = accounts.speed_ratio(among, name, way)
            found.append(Target(f"{name}, {way} speed / {ZPAQ}, same texts", speed, limit))
    found.append(_worst(accounts, CM, PPMD, CM_OF_PPMD))
    return found


def _worst(accounts: Accounts, name: str, other: str, limit: float) -> Target:
    """The worst category, where all are there."""
    ratios = {accounts.ratio(workload, name, other): workload for workload in categories(accounts)}
    if not ratios or any(map(math.isnan, ratios)):
        return Target(f"{name} / {other}, worst category", math.nan, limit, at_most=True)
    worst = max(ratios)
    return Target(f"{name} / {other}, worst category ({ratios[worst]})", worst, limit, at_most=True)


def _data(accounts: Accounts) -> list[str]:
    """Files that are neither category nor text nor small, and large enough."""
    others = set(accounts.workloads()) - set(texts(accounts))
    found = {entry.workload: None for entry in accounts.entries if entry.bytes >= _MUCH and SMALL not in entry.workload}
    return [workload for workload in found if workload in others]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}" if value < 10 else f"{value:,.0f}"
