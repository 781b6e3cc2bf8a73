"""libarchive reads archives by their signature: the examples of docs/integrations.md, compiled and run."""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

NAMES = ["tree/", "tree/a", "tree/sub/", "tree/sub/é"]


def example(checkout: Path, language: str) -> str:
    text = (checkout / "docs" / "integrations.md").read_text(encoding="utf-8")
    section = text.split("\n## libarchive\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return str(found)


@pytest.fixture
def client(checkout: Path, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """A client of libarchive, in C or in Python."""
    if request.param == "python":
        if ctypes.util.find_library("archive") is None:
            pytest.skip("there is no libarchive")
        return [sys.executable, "-c", example(checkout, "python")]
    (tmp_path / "client.c").write_text(example(checkout, "c"))
    if shutil.which("cc") is None:
        pytest.skip("there is no cc")
    command = ["cc", "-Wall", "-Wextra", "-Werror", "client.c", "-larchive", "-o", "client"]
    probe = ["cc", "-E", "-include", "archive.h", "-x", "c", os.devnull]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("there are no headers of libarchive")
    subprocess.run(command, check=True, capture_output=True)
    return ["./client"]


@pytest.mark.parametrize("client", ["c", "python"], indirect=True)
def test_the_documented_client(client: list[str], zllm: Run, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_bytes(b"a" * 1234)
    (tmp_path / "tree" / "sub" / "é").write_bytes(b"b")
    zllm("create", "-5", "a.zllm", "tree")
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    listed = subprocess.run([*client, "a.zllm"], env=environment, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listed.splitlines()] == NAMES
    (tmp_path / "no.zllm").write_bytes(b"\x8dZLM\n\r\x1a\n" + bytes(100))
    refused = subprocess.run([*client, "no.zllm"], env=environment, capture_output=True, check=False)
    assert b"tree" not in refused.stdout
