"""What scripts pack: stdin as a file, what a command writes, what is newer, and without caches and version control."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm.cli import incoming

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
PRINTS = [sys.executable, "-c", "import sys; sys.stdout.write('row\\n' * 100_000); sys.exit(int(sys.argv[1]))"]


def listed(zllm: Run, archive: str = "a.zllm") -> list[str]:
    return zllm("list", archive).stdout.decode().splitlines()


def test_stdin_is_a_file(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "beside").write_bytes(b"x")
    assert zllm("create", "-3", "--stdin-name", "db/dump.sql", "a.zllm", "beside", data=b"insert\n" * 999).stderr == b""
    assert listed(zllm) == ["db/dump.sql", "beside"]
    assert zllm("cat", "a.zllm", "db/dump.sql").stdout == b"insert\n" * 999
    zllm("append", "--stdin-name", "/other", "a.zllm", data=b"")
    assert zllm("cat", "a.zllm", "other").stdout == b""


def test_a_file_on_stdin_is_read_from_where_it_is(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"head and rest")
    with open(tmp_path / "in", "rb", buffering=0) as file:
        file.seek(9)
        zllm("create", "-1", "--stdin-name", "x", "a.zllm", stdin=file)
    assert zllm("cat", "a.zllm", "x").stdout == b"rest"


def test_a_command_is_packed_and_its_code_counts(zllm: Run, tmp_path: Path) -> None:
    zllm("create", "-2", "--stdin-from-command", "--stdin-name", "rows", "a.zllm", "--", *PRINTS, "0")
    assert zllm("cat", "a.zllm", "rows").stdout == b"row\n" * 100_000
    before = (tmp_path / "a.zllm").read_bytes()
    result = zllm("create", "-2", "--stdin-from-command", "b.zllm", "--", *PRINTS, "3", code=2)
    assert b"failed with code 3: nothing is packed" in result.stderr and result.stderr.count(b"\n") == 1
    assert b"failed with code 7" in zllm("append", "--stdin-from-command", "a.zllm", "--", *PRINTS, "7", code=2).stderr
    assert (tmp_path / "a.zllm").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.zllm"]
    result = zllm("create", "--stdin-from-command", "b.zllm", "--", "no-such-program", code=2)
    assert b"no-such-program: No such file or directory" in result.stderr


def test_the_name_of_a_command_is_its_own(zllm: Run) -> None:
    zllm("create", "-2", "--stdin-from-command", "a.zllm", "--", *PRINTS, "0")
    assert listed(zllm) == [os.path.basename(sys.executable)]


def test_a_command_ends_with_the_program(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'there'); time.sleep(99)"
    words = ["create", "-2", "--stdin-from-command", "a.zllm", "--", sys.executable, "-c", script]
    with subprocess.Popen([sys.executable, "-m", "zllm", *words], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 60
        while not (tmp_path / "there").exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "there").read_text()), 0)
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stdin-from-command", "a.zllm"], b"name the command behind --"),
        (["--stdin-from-command", "a.zllm", "--"], b"name the command behind --"),
        (["--stdin-name", "", "a.zllm"], b"is a variable unset?"),
        (["--stdin-name", "folder/", "a.zllm"], b"folder/ is not the name of a file"),
        (["--stdin-name", "..", "a.zllm"], b".. is not the name of a file"),
        (["--stdin-name", "x", "-T", "-", "a.zllm"], b"stdin cannot be a list of names or patterns and a file to pack"),
        (["--stdin-name", "x", "-X", "-", "a.zllm", "."], b"stdin cannot be a list"),
    ],
)
def test_what_makes_no_sense(zllm: Run, tmp_path: Path, words: list[str], said: bytes) -> None:
    result = zllm("create", *words, code=2)
    assert said in result.stderr and result.stderr.count(b"\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("d/old", "d/new", "d/.git/config", "d/CVS/Root", "d/cache/deep/x", "d/fake/y", "d/.gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "d/cache/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n")
    (tmp_path / "d/fake/CACHEDIR.TAG").write_bytes(b"no signature")
    return tmp_path


def test_caches_and_version_control_stay_outside(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "--exclude-caches", "--exclude-vcs", "a.zllm", "d")
    names = ["d/", "d/cache/", "d/cache/CACHEDIR.TAG", "d/fake/", "d/fake/CACHEDIR.TAG", "d/fake/y", "d/new", "d/old"]
    assert listed(zllm) == names


def test_gnu_tar_leaves_out_the_same(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "--exclude-caches", "--exclude-vcs", "a.zllm", "d")
    tar = ["tar", "-c", "--exclude-caches", "--exclude-vcs", "--warning=none", "d"]
    packed = subprocess.run(tar, cwd=tree, capture_output=True, check=True).stdout
    names = subprocess.run(["tar", "-t"], input=packed, capture_output=True, check=True).stdout.decode().split()
    assert sorted(names) == sorted(listed(zllm))


def test_update_deletes_nothing_of_a_cache(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "a.zllm", "d")
    zllm("update", "--delete", "--exclude-caches", "a.zllm", "d")
    assert "d/cache/deep/x" in listed(zllm)
    assert "d/fake/y" in listed(zllm)


def test_newer(tree: Path, zllm: Run) -> None:
    time.sleep(0.02)
    (tree / "mark").write_bytes(b"")
    time.sleep(0.02)
    (tree / "d/new").write_bytes(b"changed")
    os.utime(tree / "d/new", (1, 1))  # what counts is that it was changed, whatever it says
    zllm("create", "-2", "--newer", "./mark", "a.zllm", "d")
    assert [name for name in listed(zllm) if not name.endswith("/")] == ["d/new"]
    zllm("create", "-2", "-N", "1971-01-01", "b.zllm", "d")
    assert "d/old" in listed(zllm, "b.zllm")
    zllm("create", "-2", "-N", "2999-12-31T23:59:59", "c.zllm", "d")
    assert {name[-1] for name in listed(zllm, "c.zllm")} == {"/"}
    zllm("create", "-2", "-N", f"@{time.time() + 9:.3f}", "e.zllm", "d")
    assert {name[-1] for name in listed(zllm, "e.zllm")} == {"/"}
    for wrong in ("yesterday", "2026-13-01", "mark", "@", "@nan", "./nosuch", ""):
        result = zllm("create", f"--newer={wrong}", "f.zllm", "d", code=2)
        assert b"Traceback" not in result.stderr and b"newer" in result.stderr


def test_source_date_epoch(tree: Path, zllm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    os.utime(tree / "d/old", (5, 5))
    zllm("create", "-2", "--stdin-name", "x", "a.zllm", "d", data=b"x")
    zllm("extract", "a.zllm", "-C", "out")
    times = {path.name: path.stat().st_mtime for path in (tree / "out").rglob("*")}
    assert times.pop("old") == 5 and set(times.values()) == {1_000_000_000}
    before = (tree / "a.zllm").read_bytes()
    assert zllm("update", "a.zllm", "d").returncode == 0
    assert (tree / "a.zllm").read_bytes() == before
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert b"SOURCE_DATE_EPOCH=soon: not a number" in zllm("create", "-2", "b.zllm", "d", code=2).stderr


def test_a_command_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_GRACE_SECONDS", 0.2)
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"on\n"
        incoming._end(process)
        assert process.returncode == -signal.SIGKILL


def test_arguments_of_a_command_are_not_shown(zllm: Run) -> None:
    words = ["create", "--stdin-from-command", "a.zllm", "--", "sh", "-c", "exit 5", "--password=secret"]
    said = zllm(*words, code=2).stderr
    assert b"sh failed with code 5: nothing is packed" in said and b"secret" not in said


def test_a_closed_stdin(tmp_path: Path) -> None:
    command = f"{sys.executable} -m zllm create --stdin-name x a.zllm <&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"internal" not in done.stderr
    assert os.listdir(tmp_path) == []
