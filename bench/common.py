"""What several benchmarks share: where files are, options, and results as CSV."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
# The texts lie beside the repository, not in it: they are for measuring only.
DATA = ROOT.parent / "shared" / "bench"


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    result = argparse.ArgumentParser(prog=f"python -m bench {name}", description=description)
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


def validation_documents(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """(name, data) of the validation documents in a corpus folder, by category.

    The folder has ``val.txt``, documents joined by a zero byte, and ``val.tsv`` with their offset, length, category and
    source; or both in ``val.tar.xz``.
    """
    packed = folder / "val.tar.xz"
    if packed.exists():
        with tarfile.open(packed) as tar:
            text, table = (_member(tar, name) for name in ("val.txt", "val.tsv"))
    else:
        text, table = ((folder / name).read_bytes() for name in ("val.txt", "val.tsv"))
    documents: dict[str, list[tuple[str, bytes]]] = {}
    for number, line in enumerate(io.StringIO(table.decode())):
        offset, length, category, source = line.rstrip("\n").split("\t")
        start = int(offset)
        name = f"{number:04}-{source.rsplit(':', 1)[-1].rsplit('/', 1)[-1]}"
        documents.setdefault(category, []).append((name, text[start : start + int(length)]))
    return documents


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise FileNotFoundError(name)
    return file.read()


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write (name, data) pairs into a new folder."""
    folder.mkdir(parents=True)
    for name, data in files:
        (folder / name).write_bytes(data)
    return folder
