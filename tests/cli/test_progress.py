"""A bar on a terminal, silence in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from zllm.cli.output import Console
from zllm.cli.progress import Progress, wanted


def stderr_on_a_terminal(words: list[str], cwd: Path, term: str = "xterm") -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    command = [sys.executable, "-m", "zllm", *words]
    process = subprocess.Popen(
        command, cwd=cwd, stderr=theirs, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": term}
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the last writer left
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return shown.decode()


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (["create", "b.zllm", "tree"], "packing"),
        (["extract", "a.zllm", "-C", "out"], "unpacking"),
        (["test", "a.zllm"], "testing"),
    ],
)
def test_a_terminal_shows_a_bar_and_a_summary(words: list[str], label: str, tree: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "zllm", "create", "a.zllm", "tree"], cwd=tmp_path, check=True)
    shown = stderr_on_a_terminal(words, tmp_path)
    assert label in shown and "B/s" in shown
    assert "members" in shown.splitlines()[-1]
    assert label not in stderr_on_a_terminal([*words, "-q", *(["--force"] if words[0] == "create" else [])], tmp_path)


def test_a_dumb_terminal_gets_no_bar(tree: Path, tmp_path: Path) -> None:
    shown = stderr_on_a_terminal(["create", "a.zllm", "tree"], tmp_path, term="dumb")
    assert "packing" not in shown and "members" in shown


def test_names_appear_above_the_bar(tree: Path, tmp_path: Path) -> None:
    shown = stderr_on_a_terminal(["create", "-v", "a.zllm", "tree"], tmp_path)
    assert "tree/every-byte" in shown


def test_without_a_terminal_counting_costs_nothing() -> None:
    console = Console()
    assert not wanted(console)
    with Progress(console, "nothing", 10) as bar:
        for _ in range(3):
            bar(5)
    assert console.status == 0


def test_counts_from_many_threads_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zllm.cli.progress.wanted", lambda console: True)
    with Progress(Console(), "counting", 1000) as bar:
        threads = [threading.Thread(target=lambda: [bar(1) for _ in range(500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bar._bar.n == 2000 == bar._bar.total
