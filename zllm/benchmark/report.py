"""Results of a comparison, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

REFERENCE = "zstd -19"
_MB = 1e6


@dataclass(frozen=True)
class Row:
    """One contender on one workload. Sizes in bytes, times in seconds; ``exact``: decoding gave back every byte.

    ``model_bytes``: size of the models that decoding needs, which ``size`` does not include.
    """

    name: str
    size: int
    fixed: int
    encode_seconds: float
    decode_seconds: float
    exact: bool
    model_bytes: int = 0


@dataclass(frozen=True)
class Section:
    """One workload and its rows."""

    title: str
    files: int
    raw: int
    rows: tuple[Row, ...]

    def reference(self) -> Row | None:
        """The row of zstd -19, to which speeds and sizes are related; None if it was not run."""
        return next((row for row in self.rows if row.name == REFERENCE), None)

    def facts(self, row: Row) -> dict[str, object]:
        """All figures of a row: sizes in bytes, speeds in MB (10^6 bytes of file data) a second, ratios to zstd -19."""
        reference = self.reference()
        facts: dict[str, object] = {
            "name": row.name,
            "size": row.size,
            "fixed": row.fixed,
            "net_size": row.size - row.fixed,
            "model_bytes": row.model_bytes,
            "bits_per_byte": round(8 * row.size / self.raw, 4) if self.raw else None,
            "size_ratio": round(row.size / reference.size, 4) if reference else None,
            "exact": row.exact,
        }
        for way in ("encode", "decode"):
            seconds = max(getattr(row, f"{way}_seconds"), 1e-9)
            facts[f"{way}_mb_s"] = round(self.raw / _MB / seconds, 6)
            ratio = getattr(reference, f"{way}_seconds") / seconds if reference else None
            facts[f"{way}_speed_ratio"] = None if ratio is None else round(ratio, 6)
        return facts


@dataclass
class Report:
    """All sections, the settings of the run, and notes about it."""

    settings: dict[str, str | int | None]
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether everything that was coded was decoded to the same bytes."""
        return all(row.exact for section in self.sections for row in section.rows)

    def as_dict(self) -> dict[str, object]:
        """For JSON; sizes in bytes, speeds in MB (10^6 bytes of file data) a second, ratios to zstd -19 of this run."""
        return {
            "settings": self.settings,
            "exact": self.exact,
            "sections": [
                {
                    "title": section.title,
                    "files": section.files,
                    "bytes": section.raw,
                    "rows": [section.facts(row) for row in section.rows],
                }
                for section in self.sections
            ],
            "notes": self.notes,
        }

    def to_json(self) -> str:
        """:meth:`as_dict` as text."""
        return json.dumps(self.as_dict(), indent=2)

    def table(self) -> str:
        """The report as aligned text."""
        lines = []
        for section in self.sections:
            lines += [_title(section), *_table(section), ""]
        lines += self.notes
        return "\n".join(lines).rstrip() + "\n"


_HEADINGS = (
    "", "bytes", "net of fixed", "model", "bits/byte", "size/zstd-19", "enc MB/s", "x zstd-19", "dec MB/s", "x zstd-19"
)  # fmt: skip


def _title(section: Section) -> str:
    return f"{section.title}: {section.files} file{'' if section.files == 1 else 's'}, {section.raw:,} bytes"


def _table(section: Section) -> list[str]:
    cells = [_HEADINGS]
    for row in sorted(section.rows, key=lambda row: row.size):
        facts = section.facts(row)
        cells.append(
            (
                row.name,
                f"{row.size:,}",
                f"{row.size - row.fixed:,}" if row.fixed else "",
                f"{row.model_bytes:,}" if row.model_bytes else "",
                _number(facts["bits_per_byte"], 3),
                _number(facts["size_ratio"], 3),
                _speed(facts["encode_mb_s"]),
                _speed(facts["encode_speed_ratio"]),
                _speed(facts["decode_mb_s"]),
                _speed(facts["decode_speed_ratio"]),
            )
        )
    lines = aligned(cells)
    wrong = [f"  WRONG: what {row.name} gave back is not what went in" for row in section.rows if not row.exact]
    return lines + wrong


def _speed(value: object) -> str:
    """Three digits, wherever the point is: contenders differ by a factor of 10,000."""
    if not isinstance(value, (int, float)) or value <= 0:
        return "-"
    return _number(value, max(0, 2 - math.floor(math.log10(value))))


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else "-"


def aligned(cells: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lines of a table whose first row is its headings; columns that are empty below it are left out.

    Columns in ``left`` are aligned to the left, all others to the right.
    """
    used = [column for column in range(len(cells[0])) if any(row[column] for row in cells[1:])]
    widths = {column: max(len(row[column]) for row in cells) for column in used}
    return [
        ("  " + "  ".join(row[c].ljust(widths[c]) if c in left else row[c].rjust(widths[c]) for c in used)).rstrip()
        for row in cells
    ]
