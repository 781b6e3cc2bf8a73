"""Where no thread can be started (a container's limit of processes, ``ulimit -u``), work goes on in one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

LIMIT = """
import threading
start, left = threading.Thread.start, [{most}]
def limited(thread):
    if not left[0]:
        raise RuntimeError("can't start new thread")
    left[0] -= 1
    start(thread)
threading.Thread.start = limited
"""


@pytest.fixture(params=[0, 1, 2])
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment in which Python starts so many threads, and no more."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LIMIT.format(most=request.param))
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


@pytest.mark.parametrize("level", ["1", "4", "5", "6"])
def test_every_command(level: str, zllm: Run, tree: Path, tmp_path: Path, limited: dict[str, str]) -> None:
    words = ["--level", level, "--reproducible", "-j", "3"]
    zllm("create", *words, "free.zllm", "tree")
    zllm("create", *words, "a.zllm", "tree", env=limited)
    assert (tmp_path / "a.zllm").read_bytes() == (tmp_path / "free.zllm").read_bytes()
    assert zllm("list", "a.zllm", env=limited).stdout == zllm("list", "free.zllm").stdout
    zllm("test", "-j", "3", "a.zllm", env=limited)
    zllm("extract", "-q", "-j", "3", "a.zllm", "-C", "out", env=limited)
    assert (tmp_path / "out" / "tree" / "every-byte").read_bytes() == (tree / "every-byte").read_bytes()


def test_the_filter(zllm: Run, limited: dict[str, str]) -> None:
    text = b"".join(b"line %d of some text\n" % k for k in range(3000))
    packed = zllm("-j", "4", "--level", "6", data=text, env=limited).stdout
    assert zllm("-d", "-j", "4", data=packed, env=limited).stdout == text


def test_options_that_need_no_thread(zllm: Run, limited: dict[str, str]) -> None:
    assert zllm("--version", env=limited).stdout.startswith(b"zllm ")
    zllm("model", "list", env=limited)
