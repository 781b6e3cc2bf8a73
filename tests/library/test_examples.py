"""The programs of ``docs/examples``: compiled as their first lines say, and run."""

from __future__ import annotations

import random
import subprocess
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from library.conftest import Installed
from library.test_archive import GOLDEN, TINY

import zllm
from zllm.archive import builder

Example = Callable[..., subprocess.CompletedProcess[bytes]]
TEXT = GOLDEN / "texts" / "english.txt"


@pytest.fixture(scope="module")
def example(installed: Installed, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Runs one of the examples, which is compiled without a warning."""
    folder = tmp_path_factory.mktemp("examples")
    flags = [*installed.flags("--cflags", "--libs"), f"-Wl,-rpath,{installed.root / 'usr/lib'}"]
    for source in sorted((checkout / "docs" / "examples").glob("*.c")):
        words = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", str(source), "-o", folder / source.stem]
        subprocess.run([*words, *flags], check=True)

    def run(name: str, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([folder / name, *map(str, words)], capture_output=True, check=False)

    return run


def test_every_example_is_tested(checkout: Path) -> None:
    names = {path.stem for path in (checkout / "docs" / "examples").iterdir()}
    assert names == {"extract", "compress", "random_reads"}


def test_extract(example: Example, tmp_path: Path) -> None:
    with zllm.open(GOLDEN / "cm.zllm") as archive:
        names = archive.getnames()
        file = archive.extractfile(names[0])
        assert file is not None
        data = file.read()
    assert example("extract", GOLDEN / "cm.zllm").stdout.decode().splitlines() == names
    assert example("extract", GOLDEN / "cm.zllm", names[0]).stdout == data
    missing = example("extract", GOLDEN / "cm.zllm", "nothing")
    assert missing.returncode == 1 and b"nothing is not in the archive" in missing.stderr
    assert example("extract", TEXT).returncode == 1


def test_compress(example: Example) -> None:
    size = TEXT.stat().st_size
    for words in ((TEXT,), (TEXT, TINY)):
        done = example("compress", *words)
        assert done.returncode == 0, done.stderr
        assert 0 < int(done.stdout.split()[-1]) < size // 2 < int(done.stdout.split()[0]) == size
    assert example("compress", TEXT, TEXT).returncode == 1


def test_random_reads(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "SECTION", 256 << 10)
    with zllm.open(tmp_path / "a.zllm", "w", level=1) as archive:
        for number in range(30):
            info = tarfile.TarInfo(f"noise{number}")
            info.size = 100_000
            archive.addfile(info, BytesIO(random.Random(number).randbytes(info.size)))
    done = example("random_reads", tmp_path / "a.zllm", "noise7", "noise20")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["noise7: 100000 bytes", "noise20: 100000 bytes"]
    read, size = int(lines[2].split()[0]), int(lines[2].split()[-1])
    assert 200_000 < read < size // 2
    assert example("random_reads", tmp_path / "a.zllm", "nothing").returncode == 1
