"""Commands that change an archive, killed at every write: it is as before or as after, and the next run tidies up."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm.archive.archive import Archive
from zllm.archive.partwriter import PartWriter
from zllm.cli.main import main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

COMMANDS = {
    "create": ["create", "-2", "-q", "--force", "a.zllm", "d"],
    "append": ["append", "-q", "a.zllm", "d/b", "new"],
    "update": ["update", "-q", "--delete", "a.zllm", "d"],
    "delete": ["delete", "-q", "a.zllm", "d/a"],
    "compact": ["compact", "-q", "a.zllm"],
}


def in_a_child(words: list[str], prepare: Callable[[], None]) -> int:
    """How a process ends that runs a command; ``prepare`` makes it fail."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        prepare()
        code = main(words)
    finally:
        os._exit(code)


def killed_at(number: int) -> Callable[[], None]:
    """Have the process killed in the middle of its n-th write, or before it syncs or renames for the n-th time."""

    def prepare() -> None:
        left = [number]

        def due() -> bool:
            left[0] -= 1
            return left[0] < 0

        put, sync, replace = PartWriter._put, os.fsync, os.replace

        def dying_put(self: PartWriter, data: bytes | memoryview) -> None:
            if due():
                put(self, memoryview(data)[: len(data) // 2])
                getattr(self._out, "flush", lambda: None)()
                os.kill(os.getpid(), signal.SIGKILL)
            put(self, data)

        def dying_sync(descriptor: int) -> None:
            if due():
                os.kill(os.getpid(), signal.SIGKILL)
            sync(descriptor)

        def dying_replace(old: str, new: str) -> None:
            if due():
                os.kill(os.getpid(), signal.SIGKILL)
            replace(old, new)

        PartWriter._put = dying_put  # type: ignore[method-assign]
        os.fsync, os.replace = dying_sync, dying_replace  # type: ignore[assignment]

    return prepare


def state(path: Path) -> dict[str, bytes]:
    """What is in the archive; all of it can be read."""
    with path.open("rb") as file:
        archive = Archive(file)
        found = {
            member.name: b"" if (data := archive.open(member)) is None or member.islnk() else data.read()
            for member in archive
        }
        assert archive.problems == []
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree, an archive of it with two generations, and what has changed since."""
    (tmp_path / "d").mkdir()
    for name in "abc":
        (tmp_path / "d" / name).write_bytes(name.encode() * 9000)
    os.link(tmp_path / "d" / "a", tmp_path / "d" / "link")
    (tmp_path / "new").write_bytes(os.urandom(700))
    assert main([*COMMANDS["create"]]) == 0
    (tmp_path / "d" / "b").write_bytes(b"second" * 900)
    assert main([*COMMANDS["update"]]) == 0
    (tmp_path / "d" / "b").write_bytes(b"third" * 800)
    (tmp_path / "d" / "c").unlink()
    (tmp_path / "d" / "fresh").write_bytes(b"fresh")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_write(command: str, folder: Path) -> None:
    archive, whole = folder / "a.zllm", folder / "whole.zllm"
    shutil.copy(archive, whole)
    before = state(archive)
    assert main(COMMANDS[command]) == 0
    after = state(archive)
    deaths = seen_after = 0
    for number in range(500):
        shutil.copy(whole, archive)
        ended = in_a_child(COMMANDS[command], killed_at(number))
        if ended == 0:
            break
        assert os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        deaths += 1
        found = state(archive)
        assert found in (before, after), number
        seen_after += found == after != before
        assert main(["append", "-q", "a.zllm", "new"]) == 0
        assert state(archive) == {**found, "new": (folder / "new").read_bytes()}
        if command == "create":  # whatever is packed under the name again removes what was left
            assert main(COMMANDS["create"]) == 0
        assert not list(folder.glob(".*.part"))
    assert deaths > 5
    if command != "compact":
        assert before != after


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command: str, folder: Path) -> None:
    archive, whole = folder / "a.zllm", folder / "whole.zllm"
    shutil.copy(archive, whole)
    size, failed = archive.stat().st_size, 0
    assert main(COMMANDS[command]) == 0
    new = archive.stat().st_size
    first = size if command not in ("create", "compact") else 0
    for limit in range(first + 1, new, max(1, (new - first) // 12)):
        shutil.copy(whole, archive)

        def prepare(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        assert os.waitstatus_to_exitcode(in_a_child(COMMANDS[command], prepare)) == 2
        assert archive.read_bytes() == whole.read_bytes()
        assert not list(folder.glob(".*.part"))
        failed += 1
    assert failed >= 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted(command: str, folder: Path) -> None:
    archive = folder / "a.zllm"
    whole = archive.read_bytes()

    def prepare() -> None:
        put = PartWriter._put
        left = [4]

        def interrupted(self: PartWriter, data: bytes | memoryview) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            put(self, data)

        PartWriter._put = interrupted  # type: ignore[method-assign]

    ended = in_a_child(COMMANDS[command], prepare)
    assert os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGTERM
    assert archive.read_bytes() == whole
    assert not list(folder.glob(".*.part"))
