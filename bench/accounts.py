"""The rows of ``ratio.csv``: reading, merging, writing them, and what follows from them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.common import Row, write_csv
from zllm.benchmark.report import Section
from zllm.errors import UsageError

ZPAQ, ZSTD, PPMD = "zpaq -m5", "zstd -19", "7z PPMd"
WAYS = ("encode", "decode")


@dataclass(frozen=True)
class Timing:
    """Seconds, and speeds over zpaq's in the same run; None is what was not measured."""

    encode_seconds: float | None = None
    decode_seconds: float | None = None
    encode_speed_ratio: float | None = None
    decode_speed_ratio: float | None = None


@dataclass(frozen=True)
class Entry:
    """One configuration or rival on one workload, sizes in bytes."""

    workload: str
    files: int
    bytes: int
    name: str
    size: int
    fixed: int
    model_bytes: int
    timing: Timing = field(default_factory=Timing)

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.workload, self.name

    @property
    def net_size(self) -> int:
        """Without what every archive of this kind costs."""
        return self.size - self.fixed


def entries_of(section: Section) -> list[Entry]:
    """What a workload's run found."""
    zpaq = next((row for row in section.rows if row.name == ZPAQ), None)
    found = []
    for row in section.rows:
        seconds = (row.encode_seconds, row.decode_seconds)
        ratios = (zpaq.encode_seconds / seconds[0], zpaq.decode_seconds / seconds[1]) if zpaq else (None, None)
        timing = Timing(*(None if value is None else round(value, 4) for value in (*seconds, *ratios)))
        found.append(
            Entry(section.title, section.files, section.raw, row.name, row.size, row.fixed, row.model_bytes, timing)
        )
    return found


class Accounts:
    """Entries in their order, found by workload and name."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.key: entry for entry in entries}

    @property
    def entries(self) -> list[Entry]:
        """All, those of a workload together, in the order in which workloads were first seen."""
        order = {workload: number for number, workload in enumerate(self.workloads())}
        return sorted(self._entries.values(), key=lambda entry: order[entry.workload])

    def workloads(self) -> list[str]:
        """Titles, in order."""
        return list(dict.fromkeys(entry.workload for entry in self._entries.values()))

    def names(self) -> list[str]:
        """Configurations and rivals, in order."""
        return list(dict.fromkeys(entry.name for entry in self._entries.values()))

    def find(self, workload: str, name: str) -> Entry | None:
        """The entry, if there is one."""
        return self._entries.get((workload, name))

    def updated(self, entries: Iterable[Entry]) -> Accounts:
        """With these instead of those of the same workload and name."""
        return Accounts((self._entries | {entry.key: entry for entry in entries}).values())

    def with_times_of(self, old: Accounts) -> Accounts:
        """With the times of ``old``, and none where it has none: for sizes alone."""
        return Accounts(
            replace(entry, timing=kept.timing if (kept := old.find(*entry.key)) else Timing()) for entry in self.entries
        )

    def ratio(self, workload: str, name: str, other: str) -> float:
        """The size over another's net size; not a number where either is missing."""
        one, two = self.find(workload, name), self.find(workload, other)
        return one.net_size / two.net_size if one and two and two.net_size > 0 else math.nan

    def mean_ratio(self, workloads: Sequence[str], name: str, other: str) -> float:
        """The geometric mean of :meth:`ratio`; not a number unless all are there."""
        return _mean([self.ratio(workload, name, other) for workload in workloads])

    def bits_per_byte(self, workloads: Sequence[str], name: str) -> float:
        """The geometric mean of net sizes in bits per byte; not a number unless all are there."""
        found = [self.find(workload, name) for workload in workloads]
        return _mean([8 * entry.net_size / entry.bytes if entry and entry.bytes else math.nan for entry in found])

    def speed(self, workloads: Sequence[str], name: str, way: str) -> float:
        """KB (1,000 bytes) a second over all these workloads together; not a number unless all were timed."""
        found = [self.find(workload, name) for workload in workloads]
        seconds = _sum(found, lambda timing: getattr(timing, f"{way}_seconds"))
        return sum(entry.bytes for entry in found if entry) / 1000 / seconds if seconds > 0 else math.nan

    def speed_ratio(self, workloads: Sequence[str], name: str, way: str) -> float:
        """zpaq's seconds for all these workloads, each in the same run, over the seconds of ``name``."""
        found = [self.find(workload, name) for workload in workloads]

        def zpaq(timing: Timing) -> float | None:
            seconds, ratio = getattr(timing, f"{way}_seconds"), getattr(timing, f"{way}_speed_ratio")
            return None if seconds is None or ratio is None else seconds * ratio

        own = _sum(found, lambda timing: getattr(timing, f"{way}_seconds"))
        return _sum(found, zpaq) / own if own > 0 else math.nan

    def save(self, path: Path) -> None:
        """As CSV."""
        write_csv(path, [self._row(entry) for entry in self.entries])

    def _row(self, entry: Entry) -> Row:
        row: Row = {key: getattr(entry, key) for key in ("workload", "files", "bytes", "name", "size", "fixed")}
        return row | {
            "net_size": entry.net_size,
            "bits_per_byte": _digits(8 * entry.size / entry.bytes if entry.bytes else math.nan),
            "model_bytes": entry.model_bytes,
            "size_ratio_zpaq": _digits(self.ratio(entry.workload, entry.name, ZPAQ)),
            "size_ratio_zstd": _digits(self.ratio(entry.workload, entry.name, ZSTD)),
            **{key: "" if value is None else f"{value:.4f}" for key, value in vars(entry.timing).items()},
        }


def load(path: Path) -> Accounts:
    """From a file that :meth:`Accounts.save` wrote; none if there is no file.

    Raises:
        UsageError: it is another kind of file.
    """
    if not path.exists():
        return Accounts()
    with path.open(newline="") as file:
        try:
            return Accounts(_entry(row) for row in csv.DictReader(file))
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(f"{path} is not what `python -m bench ratio` writes: {error}") from None


def _entry(row: dict[str, str]) -> Entry:
    numbers = {key: int(row[key]) for key in ("files", "bytes", "size", "fixed", "model_bytes")}
    times = {key: float(row[key]) if row[key] else None for key in Timing.__dataclass_fields__}
    return Entry(workload=row["workload"], name=row["name"], timing=Timing(**times), **numbers)


def _mean(values: Sequence[float]) -> float:
    """Geometric; not a number of nothing, or where one is none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values and min(values) > 0 else math.nan


def _sum(found: Iterable[Entry | None], value: Callable[[Timing], float | None]) -> float:
    values = [value(entry.timing) if entry else None for entry in found]
    return sum(one if one is not None else math.nan for one in values)


def _digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
