"""Real folders through the command line, and back, byte for byte, with modes, times and links."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path

import pytest

LICENCES = Path("/usr/share/common-licenses")
IGNORED = {"__pycache__", ".git", ".venv", "build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


def zllm(*args: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", "zllm", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def describe(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that must come back."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if IGNORED & set(path.relative_to(root).parts):
            continue
        info = path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_file():
            found[name] = (path.read_bytes(), stat.S_IMODE(info.st_mode), round(info.st_mtime, 3))
        else:
            found[name] = ("folder", stat.S_IMODE(info.st_mode), round(info.st_mtime, 3))
    return found


def round_trip(folder: Path, work: Path, *options: str) -> Path:
    archive = work / "a.zllm"
    excludes = [f"--exclude={name}" for name in sorted(IGNORED)]
    zllm("create", archive, "-C", folder.parent, folder.name, *excludes, *options)
    zllm("extract", archive, "-C", work / "out")
    assert describe(work / "out" / folder.name) == describe(folder)
    return archive


def test_own_tree(checkout: Path, tmp_path: Path) -> None:
    """Code, docs and the model itself; the model codes what it pays for.

    A copy of them: in the checkout, other tests and the programs that run here write folders ``__pycache__``, which
    changes the times of folders above.
    """
    tree = tmp_path / "tree"
    for name in ("csrc", "docs", "zllm"):
        shutil.copytree(checkout / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns(*IGNORED, "*.o"))
    archive = round_trip(tree, tmp_path)
    assert " llm " in zllm("list", "-v", archive)


@pytest.mark.skipif(not LICENCES.is_dir(), reason="a Debian folder")
def test_licences(tmp_path: Path) -> None:
    round_trip(LICENCES, tmp_path)


def test_standard_library(tmp_path: Path) -> None:
    IGNORED.add("site-packages")
    round_trip(Path(sysconfig.get_paths()["stdlib"]), tmp_path, "--level", "3")


def test_random_and_compressed(tmp_path: Path) -> None:
    rng = random.Random(4)
    folder = tmp_path / "noise"
    folder.mkdir()
    for i in range(12):
        (folder / f"random{i}.bin").write_bytes(rng.randbytes(rng.choice([0, 1, 100, 5000, 300_000])))
    text = " ".join(str(rng.random()) for _ in range(20_000)).encode()
    for i in range(4):
        (folder / f"packed{i}.z").write_bytes(zlib.compress(text[i:]))
    archive = round_trip(folder, tmp_path)
    total = sum(p.stat().st_size for p in folder.iterdir())
    assert archive.stat().st_size < total + 16 * 100 + 600
