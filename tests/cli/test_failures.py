"""Wrong things, answered well: one line that says what to do, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

import zllm as zllm_api

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def one_line(result: subprocess.CompletedProcess[bytes]) -> str:
    text = result.stderr.decode()
    assert text.startswith("zllm: ") and text.count("\n") == 1, text
    return text


def test_output_exists(zllm: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zllm").write_text("precious")
    assert "already exists: pass --force" in one_line(zllm("create", "a.zllm", "tree", code=2))
    assert (tmp_path / "a.zllm").read_text() == "precious"
    zllm("create", "--force", "a.zllm", "tree")
    zllm("test", "a.zllm")


def test_a_failed_replacement_keeps_the_old_archive(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")
    before = (tmp_path / "a.zllm").read_bytes()
    zllm("create", "--force", "a.zllm", "no-such-file", code=2)
    assert (tmp_path / "a.zllm").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_output_is_a_folder(zllm: Run, tree: Path) -> None:
    assert "is a folder" in one_line(zllm("create", "tree", "tree", code=2))


def test_output_folder_is_missing(zllm: Run, tree: Path) -> None:
    assert "No such file" in one_line(zllm("create", "nowhere/a.zllm", "tree", code=2))


def test_a_link_to_the_archive_stays_a_link(zllm: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "a.zllm").symlink_to("target/real.zllm")
    zllm("create", "a.zllm", "tree")
    assert (tmp_path / "a.zllm").is_symlink() and (tmp_path / "target" / "real.zllm").is_file()


def test_a_new_archive_has_the_usual_permissions(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree", umask=0o027)
    assert (tmp_path / "a.zllm").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("words", [["create", "/dev/full", "tree"], ["create", "-", "tree"], []])
def test_disk_full(words: list[str], zllm: Run, tree: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = zllm(*words, code=2, stdout=full, data=None if words else os.urandom(1 << 20))
    assert "No space left on device" in one_line(result)


@pytest.mark.parametrize("words", [["list", "a.zllm"], ["cat", "a.zllm", "--tar"], ["info", "a.zllm"], ["--help"]])
def test_disk_full_for_other_commands(words: list[str], zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", "tree")
    with open("/dev/full", "wb") as full:
        assert "No space left" in one_line(zllm(*words, code=2, stdout=full))


def test_unreadable_input(zllm: Run, nobody: Run, tree: Path) -> None:
    (tree / "crlf.csv").chmod(0)
    (tree / "empty").chmod(0)
    result = nobody("create", "-2", "a.zllm", "tree", code=1)
    assert b"tree/crlf.csv: Permission denied: skipped" in result.stderr
    assert b"tree/empty: Permission denied: its contents are skipped" in result.stderr
    zllm("test", "a.zllm")


def test_input_that_cannot_be_read(zllm: Run, tree: Path, tmp_path: Path) -> None:
    result = zllm("create", "a.zllm", "tree/nothing", "gone", code=1)
    assert result.stderr == b"zllm: warning: gone: No such file or directory: skipped\n"
    assert zllm("list", "a.zllm").stdout == b"tree/nothing\n"


def test_no_input_at_all(zllm: Run, tmp_path: Path) -> None:
    result = zllm("create", "a.zllm", "gone", code=2)
    assert b"none of the named files exists" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "expected"),
    [(lambda file: file.truncate(1 << 20), "it shrank"), (lambda file: file.write(b"more"), "it changed while")],
)
def test_a_file_that_changes_while_it_is_read_is_named(
    change: Callable[[BinaryIO], object], expected: str, tmp_path: Path
) -> None:
    """Packed in this process, so that the file can change at the right moment."""
    from zllm.archive.inputs import Padded
    from zllm.cli import create
    from zllm.cli.output import Console

    (tmp_path / "changing").write_bytes(b"x" * (2 << 20))
    original = Padded.read
    lines: list[str] = []

    def read(self: Padded, count: int = -1) -> bytes:
        data = original(self, count)
        if not lines:
            lines.append("")
            with open(tmp_path / "changing", "r+b") as file:
                file.seek(0, 2)
                change(file)
        return data

    console = Console()
    console.print = lines.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Padded, "read", read)
        create.run(["a.zllm", "changing", "-3", "-q"], console)
    assert console.status == 1
    assert "changing: " + expected in lines[-1]
    with zllm_api.open("a.zllm") as archive:
        assert archive.getmember("changing").size == 2 << 20


def test_a_reading_error_is_named() -> None:
    from zllm.archive.inputs import Padded

    with open("/proc/self/mem", "rb", buffering=0) as broken:  # its first page cannot be read
        padded = Padded(broken, 4)
        assert padded.read(10) == bytes(4)
        assert "Input/output error: the rest is stored as zeros" in padded.problem()


@pytest.mark.parametrize("command", ["list", "extract", "test", "info"])
@pytest.mark.parametrize("content", [b"", b"plain text", b"PK\x03\x04" + b"\0" * 600], ids=["empty", "text", "zip"])
def test_not_an_archive(command: str, content: bytes, zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    said = one_line(zllm(command, "x", code=2))
    assert "x: not a zllm archive" in said
    assert ("it is empty" in said, "magic bytes" in said) == (not content, bool(content))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_magic_that_is_damaged_is_damage(zllm: Run, tree: Path, tmp_path: Path) -> None:
    """What follows it is an archive, so nobody is told that it is not one."""
    zllm("create", "a.zllm", "tree", "-1")
    data = bytearray((tmp_path / "a.zllm").read_bytes())
    data[2] ^= 4
    (tmp_path / "a.zllm").write_bytes(data)
    says = b"the file header is damaged: wrong magic bytes: "
    assert says + b"the rest of the archive is whole, nothing is lost\n" in zllm("test", "a.zllm", code=3).stderr
    assert says + b"nothing else is lost\n" in zllm("test", "-", data=bytes(data), code=3).stderr


@pytest.mark.parametrize("command", ["list", "extract", "test", "info"])
def test_no_such_archive(command: str, zllm: Run) -> None:
    assert "x.zllm: No such file" in one_line(zllm(command, "x.zllm", code=2))
    assert "is a folder" in one_line(zllm(command, ".", code=2))


@pytest.mark.parametrize("command", ["list", "extract", "test"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated(command: str, share: float, zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "whole.zllm", "tree")
    data = (tmp_path / "whole.zllm").read_bytes()
    (tmp_path / "cut.zllm").write_bytes(data[: max(16, int(share * len(data)))])
    result = zllm(command, "cut.zllm", code=3, cwd=tmp_path)
    assert b"zllm: " in result.stderr


def test_damage_is_named_and_the_rest_comes_out(zllm: Run, tree: Path, tmp_path: Path) -> None:
    noise = os.urandom(300_000)
    (tree / "noise").write_bytes(noise)
    zllm("create", "a.zllm", "tree", "--level", "3")
    data = bytearray((tmp_path / "a.zllm").read_bytes())
    place = data.index(noise[1000:1100])
    for at in (place, place + 9):  # one wrong byte would be corrected
        data[at] ^= 1
    (tmp_path / "a.zllm").write_bytes(data)
    assert b"tree/noise" in zllm("test", "a.zllm", code=3).stderr
    result = zllm("extract", "a.zllm", "-C", "out", code=3)
    assert b"tree/noise" in result.stderr
    assert not (tmp_path / "out/tree/noise").exists()
    assert (tmp_path / "out/tree/every-byte").read_bytes() == (tree / "every-byte").read_bytes()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.endswith(".part")]
    result = zllm("cat", "a.zllm", "tree/noise", code=3)
    assert b"tree/noise" in result.stderr


def test_a_reader_that_leaves_is_no_error_message(shell: Run, tree: Path) -> None:
    (tree / "big").write_bytes(os.urandom(1 << 20))
    result = shell("zllm create a.zllm tree; zllm cat a.zllm --tar | head -c 10 > part; echo ${PIPESTATUS[0]}")
    assert result.stdout == b"141\n" and result.stderr == b""
    for number in range(2000):
        (tree / f"{number}").touch()
    result = shell("zllm create --force a.zllm tree; zllm list -v a.zllm | head -n 1; echo ${PIPESTATUS[0]}")
    assert result.stdout.endswith(b"\n141\n") and result.stderr == b""


def hear_signals() -> None:
    """Tests may run where signals are ignored (below nohup), and what is ignored is inherited."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def start(words: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zllm", *words]
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, preexec_fn=hear_signals)  # noqa: PLW1509


def children() -> float:
    """Processor time of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def end(process: subprocess.Popen[bytes], signum: signal.Signals) -> tuple[float, bytes]:
    """Send a signal and wait: processor time from then on, whatever else the machine is doing, and stderr."""
    before = children()
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    process.send_signal(signum)
    _, errors = process.communicate(timeout=120)
    return children() - before - used, errors or b""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing_and_end_the_process(signum: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    words = [b"%d " % (n * n) for n in range(400_000)]
    for number in range(8):
        (folder / str(number)).write_bytes(b"".join(words[number::3]))
    process = start(["create", "-5", "a.zllm", "big"], tmp_path)
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob(".a.zllm.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # in the middle of coding
    assert process.poll() is None
    seconds, errors = end(process, signum)
    assert seconds < 10  # about 0.6 s
    assert process.returncode == -signum
    assert errors == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big"]


def test_ctrl_c_while_extracting(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(1 << 20) * 150)
    zllm("create", "-2", "a.zllm", "big")
    process = start(["extract", "a.zllm", "-C", "out"], tmp_path)
    deadline = time.monotonic() + 20
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left in ([], ["big"])
    if left:  # it was quicker than we: then the file is whole
        assert (tmp_path / "out/big").stat().st_size == 150 << 20


def prose(size: int) -> bytes:
    """Text that the model likes better than zstd does: Python's own library, without what comes twice."""
    folder = Path(sysconfig.get_path("stdlib"))
    data = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    assert len(data) >= size
    return data[:size]


def interrupt(process: subprocess.Popen[bytes], begun: Callable[[], bool]) -> float:
    """Ctrl-C once it is at work; seconds of processor time until it is gone."""
    deadline = time.monotonic() + 30
    while not begun() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # into the coding
    assert process.poll() is None
    seconds, _ = end(process, signal.SIGINT)
    assert process.returncode == -signal.SIGINT  # a shell shows it as 130
    return seconds


@pytest.mark.parametrize("level", ["-1", "-5", "-6"])
def test_ctrl_c_while_creating_is_answered_at_once(level: str, tmp_path: Path) -> None:
    """lz4 on gigabytes, zstd -19 on one frame of 32 MiB, the model."""
    (tmp_path / "big").write_bytes(prose(3 << 20) if level == "-6" else os.urandom(64 << 20))
    process = start(["create", level, "a.zllm", *["big"] * (200 if level == "-1" else 1)], tmp_path)
    seconds = interrupt(process, lambda: bool(list(tmp_path.glob(".a.zllm.*.part"))))
    assert seconds < 2  # a tenth of it is usual
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_ctrl_c_while_the_model_decodes_is_answered_at_once(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(prose(300_000))
    zllm("create", "a.zllm", "text")
    process = start(["extract", "a.zllm", "-C", "out"], tmp_path)
    assert interrupt(process, (tmp_path / "out").exists) < 2
    assert not list((tmp_path / "out").rglob("*"))


def test_a_main_thread_that_is_busy_in_c_does_not_delay_the_end(tmp_path: Path) -> None:
    """The second thread of zllm.cli.signals: removes what is unfinished and dies by the same signal."""
    code = (
        "import os, zstandard\n"
        "from zllm import partial\n"
        "from zllm.cli import signals\n"
        "signals.install()\n"
        "partial.create(os.path.abspath('x'))\n"
        "data = os.urandom(60 << 20)\n"
        "print('ready', flush=True)\n"
        "zstandard.ZstdCompressor(level=22).compress(data)\n"  # seconds in C, without the interpreter lock
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, preexec_fn=hear_signals)  # noqa: PLW1509
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    assert list(tmp_path.iterdir())
    time.sleep(0.3)
    assert end(process, signal.SIGINT)[0] < 2.5
    assert process.returncode == -signal.SIGINT
    assert not list(tmp_path.iterdir())


def test_debug_shows_where(zllm: Run, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "zllm", "list", "x.zllm"], cwd=tmp_path, capture_output=True,
        env={**os.environ, "ZLLM_DEBUG": "1"}, check=False,
    )  # fmt: skip
    assert result.returncode == 2 and b"Traceback" in result.stderr
