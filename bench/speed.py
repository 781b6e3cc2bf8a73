"""How fast text is coded and decoded, with 1 and 2 threads, as KB/s and as ratios to other compressors of this run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.common import DATA, parser, say, write_csv
from zllm.benchmark.hybrid import Hybrid
from zllm.benchmark.report import Section
from zllm.benchmark.rivals import installed
from zllm.benchmark.runner import compare
from zllm.benchmark.workload import snapshot

_RIVALS = ("zstd -19", "zpaq -m5")
_FILES = ("lcet10.txt", "plrabn12.txt", "alice29.txt", "asyoulik.txt")


def main(arguments: list[str]) -> int:
    """Run; exit code 1 if anything did not come back exactly."""
    options = parser("speed", __doc__ or "")
    options.add_argument("--data", type=Path, default=DATA, help="folder of the texts (default: ../shared/bench)")
    options.add_argument("--text", type=Path, help="measure on this file instead")
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    given = options.parse_args(arguments)
    rivals, notes = installed(_RIVALS)
    llm = not given.no_llm
    hybrids = [
        Hybrid(given.level, given.model, llm, threads, f"zllm -{given.level}, threads: {threads}")
        for threads in given.threads
    ]
    with tempfile.TemporaryDirectory(prefix="zllm-speed-") as name:
        scratch = Path(name)
        if given.text is not None:
            text = given.text
        else:
            text = scratch / "text"
            text.write_bytes(b"".join((given.data / part).read_bytes() for part in _FILES))
        section, failures = compare(snapshot(text, scratch / "text.tar", "text"), [*hybrids, *rivals], scratch, say)
    rows = _rows(section)
    sys.stdout.write(_table(section, rows))
    for note in [*notes, *failures, *hybrids[0].notes]:
        sys.stdout.write(f"{note}\n")
    write_csv(given.results / "speed.csv", rows)
    return 0 if all(row.exact for row in section.rows) else 1


def _rows(section: Section) -> list[dict[str, object]]:
    """KB (1,000 bytes) a second, and how many times as fast as each rival."""
    times = {row.name: row for row in section.rows}
    rows = []
    for row in section.rows:
        facts: dict[str, object] = {"name": row.name, "bytes": section.raw, "size": row.size}
        for way in ("encode", "decode"):
            seconds = getattr(row, f"{way}_seconds")
            facts[f"{way}_kb_s"] = round(section.raw / 1000 / seconds, 1)
            for rival in _RIVALS:
                other = times.get(rival)
                facts[f"{way}_vs_{rival}"] = round(getattr(other, f"{way}_seconds") / seconds, 4) if other else ""
        rows.append(facts)
    return rows


def _table(section: Section, rows: list[dict[str, object]]) -> str:
    lines = [f"{section.title}: {section.raw:,} bytes", " ".join(f"{key:>18}" for key in rows[0] if key != "bytes")]
    lines += [" ".join(f"{value!s:>18}" for key, value in row.items() if key != "bytes") for row in rows]
    return "\n".join(lines) + "\n"
