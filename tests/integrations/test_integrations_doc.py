"""docs/integrations-python.md: its blocks are run, one after the other, and print what is said. Those of a library that
is not installed are skipped.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.M | re.S)
ROOT = Path(__file__).resolve().parents[2]
BLOCKS = BLOCK.findall((ROOT / "docs" / "integrations-python.md").read_text(encoding="utf-8"))


def libraries(code: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] not in sys.stdlib_module_names]
    return sorted({name.split(".")[0] for name in found} - {"zllm"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("blocks")
    run(BLOCKS[0][0], where)
    return where


def run(code: str, where: Path) -> str:
    # fsspec finds an installed zllm by itself; these tests also run beside a checkout.
    front = "import zllm.integrations.fsspec_\n" if importlib.util.find_spec("fsspec") else ""
    command = [sys.executable, "-W", "ignore", "-c", front + code]
    result = subprocess.run(command, capture_output=True, cwd=where, timeout=120, check=False, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_a_block(number: int, folder: Path) -> None:
    code, said = BLOCKS[number]
    for name in libraries(code):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    if "dask.dataframe" in code:
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
    assert run(code, folder) == said


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 10
    assert {"fsspec", "pandas", "polars", "pyarrow", "dask", "upath", "smart_open", "ratarmountcore"} == {
        name for code, _ in BLOCKS for name in libraries(code)
    }


def test_a_mount(folder: Path, tmp_path: Path) -> None:
    """fsspec's FUSE, where this system has it and this user may."""
    pytest.importorskip("fsspec")
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"fusepy or libfuse is missing: {error}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be used")
    (tmp_path / "mnt").mkdir()
    code = (
        "import fsspec, fsspec.fuse, zllm.integrations.fsspec_\n"
        "system = fsspec.filesystem('zllm', fo='data.zllm')\n"
        f"fsspec.fuse.run(system, '', {str(tmp_path / 'mnt')!r}, foreground=True, threads=False)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 20
            while not os.path.ismount(tmp_path / "mnt") and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            if not os.path.ismount(tmp_path / "mnt"):
                process.kill()
                pytest.skip(f"cannot mount here: {process.stderr and process.stderr.read()!r}")
            assert os.listdir(tmp_path / "mnt" / "data") == ["2021.csv", "2022.csv", "2023.csv", "2024.csv"]
            for name in os.listdir(tmp_path / "mnt" / "data"):
                assert (tmp_path / "mnt" / "data" / name).read_bytes() == (folder / "data" / name).read_bytes()
        finally:
            subprocess.run(["umount", "-l", str(tmp_path / "mnt")], check=False, capture_output=True)
            process.wait(timeout=20)
