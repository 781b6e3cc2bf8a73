"""The texts that are measured on: files of a folder, prose first, and documents of a corpus."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

from zllm.errors import UsageError

PROSE = ("lcet10.txt", "plrabn12.txt", "alice29.txt", "asyoulik.txt")
# English first: a text that is cut off is then as English as the corpus allows.
_CATEGORIES = ("books", "wiki", "docs", "wikixml", "code", "data")
_READ = 1 << 20


def prose(data: Path) -> bytes:
    """The Canterbury corpus's prose, one file after the other, or where there is none of it all files of the folder.

    Raises:
        UsageError: there is nothing to measure.
    """
    found = [data / name for name in PROSE if (data / name).exists()] or files(data)
    return b"".join(path.read_bytes() for path in found)


def files(data: Path) -> list[Path]:
    """The files of a folder but its README.md, by name.

    Raises:
        UsageError: there are none, or no folder.
    """
    found = sorted(path for path in data.glob("*") if path.is_file() and path.name != "README.md")
    if not found:
        raise UsageError(f"nothing to measure: no files in {data}")
    return found


def text(data: Path, corpus: Path | None, size: int) -> bytes:
    """``size`` bytes: the prose, then documents of the corpus; where that is too little, its lines in other orders."""
    return _take([prose(data)], corpus, size)


def mixed(data: Path, corpus: Path | None, size: int) -> bytes:
    """``size`` bytes of all kinds, a piece of each in turn: markup, sources, tables, logs, prose, then the corpus."""
    paths = files(data)
    pieces = min(16, max(1, size >> 16))  # so that a small sample has some of each too
    step = -(-size // (pieces * len(paths)))
    parts = [path.read_bytes()[n * step : (n + 1) * step] for n in range(pieces) for path in paths]
    return _take(parts, corpus, size)


def _take(parts: list[bytes], corpus: Path | None, size: int) -> bytes:
    out = bytearray(b"".join(parts))
    for more in _corpus(corpus, size - len(out)):
        out += more
        if len(out) >= size:
            break
    rng = random.Random(7)
    lines = bytes(out).splitlines(keepends=True)
    while len(out) < size:
        rng.shuffle(lines)
        out += b"".join(lines)
    return bytes(out[:size])


def _corpus(folder: Path | None, wanted: int) -> Iterator[bytes]:
    """Validation documents, then training shards; nothing where nothing is wanted or there."""
    if wanted <= 0 or folder is None:
        return
    if (folder / "val.tar.xz").exists() or (folder / "val.txt").exists():
        documents = validation_documents(folder)
        rest = sorted(set(documents) - set(_CATEGORIES))
        for category in (*_CATEGORIES, *rest):
            yield from (content + b"\n" for _, content in documents.get(category, ()))
    for path in sorted(folder.glob("train-*.tar.xz"), reverse=True):
        yield from _shards(path)


def _shards(path: Path) -> Iterator[bytes]:
    """The text of a pack, piece by piece; documents end in a zero byte, which text has not."""
    with tarfile.open(path, "r|xz") as tar:
        for info in tar:
            file = tar.extractfile(info) if info.name.endswith(".txt") else None
            while file is not None and (piece := file.read(_READ)):
                yield piece.replace(b"\0", b"\n")


def validation_documents(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """(name, data) of the validation documents in a corpus folder, by category.

    The folder has ``val.txt``, documents joined by a zero byte, and ``val.tsv`` with their offset, length, category and
    source; or both in ``val.tar.xz``.
    """
    packed = folder / "val.tar.xz"
    if packed.exists():
        with tarfile.open(packed) as tar:
            content, index = (_member(tar, name) for name in ("val.txt", "val.tsv"))
    else:
        content, index = ((folder / name).read_bytes() for name in ("val.txt", "val.tsv"))
    documents: dict[str, list[tuple[str, bytes]]] = {}
    for number, line in enumerate(io.StringIO(index.decode())):
        offset, length, category, source = line.rstrip("\n").split("\t")
        start = int(offset)
        name = f"{number:04}-{source.rsplit(':', 1)[-1].rsplit('/', 1)[-1]}"
        documents.setdefault(category, []).append((name, content[start : start + int(length)]))
    return documents


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise FileNotFoundError(name)
    return file.read()
