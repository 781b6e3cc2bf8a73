"""The data to compress: a folder's regular files, copied once into a tar archive, the same for all contenders."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zllm.planner.categories import Category, categorize

_CATEGORIZED = 1 << 20


@dataclass(frozen=True)
class Workload:
    """Files in one tar archive.

    ``raw`` is the bytes of file data in it: what bits per byte and speeds are counted over. ``source`` is what
    compressors of single files get: the tar, or the file itself where there is only one.
    """

    title: str
    tar: Path
    files: int
    raw: int
    source: Path


def snapshot(root: Path, target: Path, title: str = "all") -> Workload:
    """All regular files under ``root`` (or ``root`` itself, if it is one), sorted by name, in a tar at ``target``."""
    if root.is_file():
        return replace(pack([(root.name, root)], target, title), source=root)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return pack([(path.relative_to(root).as_posix(), path) for path in paths], target, title)


def pack(files: Iterable[tuple[str, Path]], target: Path, title: str) -> Workload:
    """A tar at ``target`` of files, given as (name in the tar, path)."""
    count = raw = 0
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in files:
            with path.open("rb") as file:
                info = tar.gettarinfo(arcname=name, fileobj=file)
                # A second name of a file seen before would have no data: here every file counts.
                info.type, info.linkname = tarfile.REGTYPE, ""
                info.size = path.stat().st_size
                tar.addfile(info, file)
                count, raw = count + 1, raw + info.size
    return Workload(title, target, count, raw, target)


def by_category(work: Workload, folder: Path) -> list[Workload]:
    """One tar in ``folder`` for each category of ``work``'s files that has any data, in the categories' order."""
    parts: dict[Category, list[tarfile.TarInfo]] = {}
    with tarfile.open(work.tar) as tar:
        for info in tar:
            file = tar.extractfile(info)
            if file is not None and info.size:
                category = categorize(info.name, memoryview(file.read(_CATEGORIZED)))
                parts.setdefault(category, []).append(info)
        return [
            _repack(tar, members, folder / f"{category.name.lower()}.tar", category.name.lower())
            for category, members in sorted(parts.items())
        ]


def _repack(tar: tarfile.TarFile, members: Sequence[tarfile.TarInfo], target: Path, title: str) -> Workload:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        for info in members:
            out.addfile(info, tar.extractfile(info))
    return Workload(title, target, len(members), sum(info.size for info in members), target)
