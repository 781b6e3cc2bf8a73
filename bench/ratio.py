"""Sizes and speed ratios on English prose and documentation, other text, and Python sources, beside other compressors.

Single files: rivals get the file itself. Small files: everybody gets one archive of them all (rivals a tar).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.common import DATA, parser, say, write_csv, write_files
from bench.texts import PROSE, validation_documents
from zllm.benchmark.hybrid import Hybrid
from zllm.benchmark.report import Report, Section
from zllm.benchmark.rivals import installed
from zllm.benchmark.runner import compare
from zllm.benchmark.workload import Workload, pack, snapshot
from zllm.errors import UsageError

# What the texts of one folder have in common is lost to "small files" made of a corpus of many sources; these are the
# prose files cut at paragraphs, as a folder of notes would be.
_NOTE = 4000


def main(arguments: list[str]) -> int:
    """Run; exit code 1 if anything did not come back exactly."""
    options = parser("ratio", __doc__ or "")
    options.add_argument("--data", type=Path, default=DATA, help="folder of files (default: ../shared/bench)")
    options.add_argument("--corpus", type=Path, help="folder with validation documents (val.txt and val.tsv)")
    options.add_argument("--limit", type=int, default=400_000, help="bytes of each validation category (%(default)s)")
    options.add_argument("--only", default="", help="only workloads whose title contains this")
    options.add_argument("--rivals", nargs="*", help="names as in the table (default: all that are installed)")
    options.add_argument("--threads", type=int, default=1, help="zllm's threads (default: %(default)s, as the rivals)")
    given = options.parse_args(arguments)
    rivals, notes = installed(given.rivals)
    hybrid = Hybrid(given.level, given.model, not given.no_llm, given.threads)
    report = Report({"level": given.level, "model": given.model, "threads": given.threads}, notes=notes)
    with tempfile.TemporaryDirectory(prefix="zllm-ratio-") as name:
        scratch = Path(name)
        for work in _workloads(given.data, given.corpus, given.limit, scratch):
            if given.only in work.title:
                section, failures = compare(work, [hybrid, *rivals], scratch, say)
                report.sections.append(section)
                report.notes.extend(failures)
    if not report.sections:
        raise UsageError(f"nothing to measure: no files in {given.data}")
    report.notes.extend(hybrid.notes)
    sys.stdout.write(report.table())
    write_csv(given.results / "ratio.csv", [row for section in report.sections for row in _rows(section)])
    return 0 if report.exact else 1


def _workloads(data: Path, corpus: Path | None, limit: int, scratch: Path) -> Iterator[Workload]:
    """Prose, then documents, then sources; each made when it is its turn."""
    files = sorted(path for path in data.iterdir() if path.is_file() and path.name != "README.md")
    for path in files:
        yield snapshot(path, scratch / "one.tar", path.name)
    prose = [path for path in files if path.name in PROSE]
    if prose:
        yield _small("prose in notes of 4 KB", [note for path in prose for note in _notes(path)], scratch)
    if corpus is not None:
        for category, documents in sorted(validation_documents(corpus).items()):
            yield _small(f"validation: {category}", list(_limited(documents, limit)), scratch)
    # sysconfig's stdlib path can be a virtual environment's; os.py lies where the library does.
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    yield pack([(path.name, path) for path in sources], scratch / "lib.tar", "Python's Lib/*.py")


def _small(title: str, files: list[tuple[str, bytes]], scratch: Path) -> Workload:
    folder = write_files(scratch / title.replace("/", "-").replace(" ", "-"), files)
    return snapshot(folder, scratch / "small.tar", title)


def _notes(path: Path) -> Iterator[tuple[str, bytes]]:
    """The file cut at paragraphs into pieces of about 4 KB."""
    data = path.read_bytes()
    start = 0
    while start < len(data):
        end = data.find(b"\n\n", start + _NOTE)
        end = len(data) if end < 0 else end + 2
        yield f"{path.stem}-{start:07}.txt", data[start:end]
        start = end


def _limited(documents: list[tuple[str, bytes]], limit: int) -> Iterator[tuple[str, bytes]]:
    total = 0
    for name, data in documents:
        if total + len(data) <= limit:
            total += len(data)
            yield name, data


def _rows(section: Section) -> Iterator[dict[str, object]]:
    for row in section.rows:
        facts = section.facts(row)
        speeds = {key: facts[key] for key in ("encode_speed_ratio", "decode_speed_ratio")}
        sizes = {key: facts[key] for key in ("size", "fixed", "net_size", "bits_per_byte", "size_ratio")}
        yield (
            {"workload": section.title, "files": section.files, "bytes": section.raw, "name": row.name} | sizes | speeds
        )
