"""What `ratio` codes: each category of validation text as one file, the files of a folder, and many small files.

Everything is copied first, with one time and one mode for all, so that no size depends on where and when it ran.
"""

from __future__ import annotations

import ast
import os
import platform
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.texts import files, validation_documents
from zllm.benchmark.workload import Workload

VALIDATION = "validation: "
CANTERBURY = frozenset(
    ("alice29.txt", "asyoulik.txt", "cp.html", "fields.c", "grammar.lsp", "lcet10.txt", "plrabn12.txt", "xargs.1")
)
_SMALL_FILES = 1500
# As long as pages on single commands are: 540 bytes on average.
_SMALL = range(200, 4096)
SMALL = "small documentation files"
# Neither documentation nor, where they are installed at all, the same everywhere.
_NOT_THE_LIBRARY = frozenset(("site-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "__pycache__"))
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_TIME = 1_700_000_000
_FILE, _FOLDER = 0o644, 0o755


@dataclass(frozen=True)
class Case:
    """A workload and the file or folder that it is on disk, which is what zllm packs."""

    path: Path
    work: Workload


@dataclass(frozen=True)
class Offer:
    """A workload that can be made, in a folder of its own; the title may say more then."""

    title: str
    make: Callable[[Path], Case]


def offers(data: Path, corpus: Path | None) -> Iterator[Offer]:
    """All workloads: categories of validation text if there is a corpus, the files of ``data``, small files.

    Raises:
        UsageError: there are no files in ``data``.
    """
    if corpus is not None:
        for category, documents in sorted(validation_documents(corpus).items()):
            content = b"".join(document for _, document in documents)
            title = f"{VALIDATION}{category}"
            yield Offer(title, partial(_one_file, title, f"{category}.txt", content))
    # The texts first, then logs and tables.
    for path in sorted(files(data), key=lambda path: path.name not in CANTERBURY):
        yield Offer(path.name, partial(_copy, path))
    yield Offer(SMALL, partial(_small_files, Path(os.__file__).parent))


def docstrings(library: Path) -> dict[str, bytes]:
    """Name of a file and its text, for each different docstring of the library below ``library`` that is small."""
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    for path in sorted(library.rglob("*.py")):
        module = path.relative_to(library).with_suffix("").parts
        if _NOT_THE_LIBRARY.isdisjoint(module):
            for name, text in _docstrings(ast.parse(path.read_bytes()), ".".join(module[1:])):
                if text not in seen and len(text.encode()) in _SMALL:
                    seen.add(text)
                    found.setdefault(f"{module[0]}/{name or 'index'}.txt", f"{text}\n".encode())
    return found


def _docstrings(node: _Documented, name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text:
        yield name, text
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings(child, f"{name}.{child.name}" if name else child.name)


def _one_file(title: str, name: str, content: bytes, folder: Path) -> Case:
    path = folder / name
    path.write_bytes(content)
    _same_everywhere(path, _FILE)
    return Case(path, Workload(title, path, 1, len(content), path))


def _copy(source: Path, folder: Path) -> Case:
    return _one_file(source.name, source.name, source.read_bytes(), folder)


def _small_files(library: Path, folder: Path) -> Case:
    """Taken evenly over the whole library; other compressors get a tar of the folder."""
    texts = sorted(docstrings(library).items())
    count = min(_SMALL_FILES, len(texts))
    root = folder / "docs"
    for number in range(count):
        name, content = texts[number * len(texts) // count]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        _same_everywhere(path, _FILE)
    for path in (root, *root.iterdir()):
        _same_everywhere(path, _FOLDER)
    raw = sum(path.stat().st_size for path in root.rglob("*.txt"))
    target = folder / "docs.tar"
    with tarfile.open(target, "w") as tar:
        tar.add(root, root.name, filter=_nobody)
    title = f"{count} {SMALL} (docstrings of Python {platform.python_version()})"
    return Case(root, Workload(title, target, count, raw, target))


def _same_everywhere(path: Path, mode: int) -> None:
    path.chmod(mode)
    os.utime(path, (_TIME, _TIME))


def _nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owner and group 0 without names, as ``zllm create --reproducible`` stores them."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
