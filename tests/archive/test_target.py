"""The file that an archive is written to: whole or not at all, no more readable than in the end, nothing left over."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zllm as zllm_api
from zllm import partial
from zllm.archive.target import Target

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

as_root = os.geteuid() == 0


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def write(target: Target, data: bytes = b"new") -> None:
    target.file.write(data)
    target.publish()


@pytest.mark.parametrize("old", [0o600, 0o644, 0o640, 0o444, 0o666, 0o000, 0o4755])
def test_what_is_replaced_hands_on_its_mode(old: int, tmp_path: Path, umask: None) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(old)
    target = Target("a", replace=True)
    assert mode(parts(tmp_path)[0]) & ~(old | 0o600) == 0, "never more readable than in the end"
    write(target)
    assert mode(tmp_path / "a") == old & 0o777
    assert not parts(tmp_path)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_usual_mode(mask: int, expected: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        target = Target("a", replace=False)
    finally:
        os.umask(before)
    assert mode(parts(tmp_path)[0]) == expected
    write(target)
    assert mode(tmp_path / "a") == expected


@pytest.mark.skipif(not as_root, reason="only root gives files away")
def test_what_is_replaced_hands_on_its_owner(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.chown(tmp_path / "a", 65534, 1)
    write(Target("a", replace=True))
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (65534, 1)


def test_both_commands_and_the_api_keep_the_mode(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")
    (tmp_path / "a.zllm").chmod(0o600)
    zllm("create", "a.zllm", "tree", "--force")
    assert mode(tmp_path / "a.zllm") == 0o600
    zllm("-3", "-f", "-o", "a.zllm", data=b"data")
    assert mode(tmp_path / "a.zllm") == 0o600
    with zllm_api.open("a.zllm", "w", level=1) as archive:
        archive.add(tree / "nothing")
    assert mode(tmp_path / "a.zllm") == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/a")
    for data in (b"one", b"two"):
        write(Target("link", replace=True), data)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "a").read_bytes() == data
    with pytest.raises(FileExistsError):
        Target("link", replace=False)


def test_the_folder_is_synced_after_the_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(f"{'folder' if folder else 'file'}, {'named' if (tmp_path / 'a').exists() else 'not named'}")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(Target("a", replace=False))
    assert synced == ["file, not named", "folder, named"]


def test_what_took_the_name_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = Target("a", replace=False)
    (tmp_path / "a").write_text("theirs")
    target.file.write(b"mine")
    with pytest.raises(FileExistsError):
        target.publish()
    target.discard()
    assert (tmp_path / "a").read_text() == "theirs" and not parts(tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "src").write_bytes(os.urandom(64 << 20))
    command = [sys.executable, "-m", "zllm", "create", "-4", "a.zllm", "src"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not parts(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # until it is locked
    living = parts(tmp_path)
    assert len(living) == 1
    write(Target("a.zllm", replace=True))
    assert parts(tmp_path) == living, "it is being written"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert parts(tmp_path) == living
    (tmp_path / ".other.12345678.part").touch()
    (tmp_path / ".a.zllm.123.part").touch()
    Target("b.zllm", replace=True).discard()
    assert len(parts(tmp_path)) == 3
    Target("a.zllm", replace=True).discard()
    assert sorted(path.name for path in parts(tmp_path)) == [".a.zllm.123.part", ".other.12345678.part"]


def test_what_looks_like_a_remainder_and_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".a.00000000.part").symlink_to("mine")
    (tmp_path / ".a.00000001.part").mkdir()
    os.mkfifo(tmp_path / ".a.00000002.part")
    write(Target("a", replace=False))
    assert len(parts(tmp_path)) == 3 and (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_was_taken_for_stale_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = partial.create
    made: list[str] = []

    def create(target: str, mode: int) -> tuple[int, str]:
        descriptor, name = original(target, mode)
        made.append(name)
        if len(made) == 1:
            os.unlink(name)
        return descriptor, name

    monkeypatch.setattr(partial, "create", create)
    write(Target("a", replace=False))
    assert len(made) == 2 and (tmp_path / "a").read_bytes() == b"new" and not parts(tmp_path)


def test_places_that_are_no_files(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        write(Target(name, replace=True), name.encode())
    assert capfdbinary.readouterr().out == b"/dev/stdout/dev/fd/1/proc/self/fd/1"
    write(Target("/dev/null", replace=True))
    with pytest.raises(OSError, match="Bad file descriptor"):
        Target("/dev/fd/777", replace=True)
    with open(tmp_path / "log", "ab") as log:
        log.write(b"before\n")
        log.flush()
        write(Target(f"/dev/fd/{log.fileno()}", replace=True), b"after")
    assert (tmp_path / "log").read_bytes() == b"before\nafter"


def test_a_folder_that_cannot_be_written(nobody: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a.zllm").write_text("old")
    (tmp_path / "closed").chmod(0o555)
    for words in (["--level", "1", "--force"], ["--level", "2", "--force"]):
        result = nobody("create", *words, "closed/a.zllm", "tree", code=2)
        assert result.stderr.startswith(b"zllm: closed/a.zllm: Permission denied: an archive is first written under")
    (tmp_path / "closed").chmod(0o755)


@pytest.mark.skipif(not as_root, reason="needs two users")
def test_somebody_elses_file_in_a_sticky_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "sticky" / "a.zllm").write_text("theirs")
    code = (
        "import os; os.setgid(65534); os.setuid(65534)\n"
        "from zllm.archive.target import Target\n"
        "try: Target('sticky/a.zllm', replace=True)\n"
        "except PermissionError as error: print(error)\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            pytest.skip("the folder of the tests is closed to others")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "No module" in result.stderr or "Permission" in result.stderr:
        pytest.skip("the package is closed to others")
    assert "belongs to somebody else" in result.stdout
    assert not parts(tmp_path / "sticky")


def test_the_archive_is_never_in_itself(tree: Path) -> None:
    with zllm_api.open("tree/a.zllm", "w", level=1) as archive:
        archive.add("tree")
    with zllm_api.open("tree/a.zllm", "w", level=1) as archive:
        os.link("tree/a.zllm", "tree/b.zllm")  # another name for what is replaced
        archive.add("tree")
    with zllm_api.open("tree/a.zllm") as archive:
        assert not [name for name in archive.getnames() if "zllm" in name]
