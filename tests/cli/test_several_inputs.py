"""The filter with any number of files, a process that cannot start threads, and times that no calendar has."""

from __future__ import annotations

import random
import signal
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from zllm.cli import list_, output, progress, signals
from zllm.cli.main import main

Captured = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _archives() -> None:
    for name in ("one", "two"):
        Path(name).write_text(name * 1000)
        assert main(["-2", name, "-o", f"{name}.zllm"]) == 0
    Path("cut.zllm").write_bytes(Path("one.zllm").read_bytes()[:-5])


@pytest.mark.parametrize("words", [["-dc"], ["-cd"], ["-qc"], ["-d", "-c", "--"]])
def test_archives_are_decompressed_one_after_the_other(words: list[str], capfdbinary: Captured) -> None:
    assert main([*words, "one.zllm", "two.zllm", "one.zllm"]) == 0
    assert capfdbinary.readouterr().out == b"one" * 1000 + b"two" * 1000 + b"one" * 1000


def test_what_cannot_be_read_stops_no_other(capfdbinary: Captured) -> None:
    assert main(["-dc", "gone", "one.zllm", "two", "cut.zllm", "two.zllm"]) == 3
    out, err = capfdbinary.readouterr()
    assert out.endswith(b"two") and out.startswith(b"one")
    lines = err.decode().splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["gone", "two", "cut.zllm"]
    assert main(["-d", "one.zllm", "gone", "-o", "out"]) == 2
    assert not Path("out").exists()


@pytest.mark.parametrize("unreadable", [["gone"], ["folder", "gone"]])
def test_what_cannot_be_read_stops_no_other_if_it_comes_first(unreadable: list[str], capfdbinary: Captured) -> None:
    Path("folder").mkdir()
    assert main(["-2c", *unreadable, "two"]) == 2
    out, err = capfdbinary.readouterr()
    assert out == Path("two.zllm").read_bytes()
    assert err.count(b"\n") == len(unreadable) and err.endswith(b"gone: No such file or directory\n")
    assert main(["-qc", *unreadable, "two.zllm", "one.zllm"]) == 2
    assert capfdbinary.readouterr().out == b"two" * 1000 + b"one" * 1000
    assert main(["-2", "-o", "out", *unreadable, "two"]) == 2
    assert main(["-2c", *unreadable]) == 2
    assert capfdbinary.readouterr().out == b"" and not Path("out").exists()


@pytest.mark.parametrize("words", [["-2c"], ["-qc"], ["-z", "-o", "out"]])
def test_a_folder_is_packed_by_create(words: list[str], capfdbinary: Captured) -> None:
    Path("folder").mkdir()
    assert main([*words, "folder"]) == 2
    assert capfdbinary.readouterr().err == b"zllm: folder is a folder: zllm create ARCHIVE FOLDER packs it\n"
    assert main(["-dc", "folder"]) == 2
    assert capfdbinary.readouterr().err == b"zllm: folder is a folder, not an archive\n"


@pytest.mark.parametrize("words", [["extract", "b"], ["-t", "b"], ["test", "b"], ["cat", "b", "file"], ["list", "b"]])
def test_a_member_that_the_tar_ends_in_is_told_once(words: list[str], capfdbinary: Captured) -> None:
    Path("file").write_bytes(random.Random(7).randbytes(10_000))
    with tarfile.open("whole.tar", "w") as tar:
        tar.add("file")
    Path("b.tar").write_bytes(Path("whole.tar").read_bytes()[:5000])
    assert main(["-2", "-o", "b", "b.tar"]) == 0
    assert main(words) == 2
    text = capfdbinary.readouterr().err
    assert text.count(b"file: unexpected end of data") == 1 and text.count(b"\n") == 1
    assert main(["-t", "b", "b", "one.zllm"]) == 2
    assert capfdbinary.readouterr().err.count(b"zllm: b: file: unexpected end of data") == 2


def test_several_are_compressed_one_after_the_other_on_demand(capfdbinary: Captured) -> None:
    assert main(["-2c", "one", "two"]) == 0
    assert capfdbinary.readouterr().out.count(b"\x8dZLM") == 2
    assert main(["-qc", "one.zllm", "two"]) == 2
    assert b"two: not an archive, and the first is" in capfdbinary.readouterr().err


def test_several_are_tested(capfdbinary: Captured) -> None:
    assert main(["-t", "one.zllm", "two.zllm"]) == 0
    assert capfdbinary.readouterr() == (b"", b"")
    assert main(["-t", "one.zllm", "two", "cut.zllm", "gone"]) == 3
    out, err = capfdbinary.readouterr()
    assert not out
    assert [line.split(":")[1].strip() for line in err.decode().splitlines()] == ["two", "cut.zllm", "gone"]


@pytest.mark.parametrize("command", [["list"], ["test"], ["-t"], ["extract"], ["cat", "--tar"], ["info"], ["-dc"]])
def test_damage_is_told_with_the_name_of_the_archive(command: list[str], capfdbinary: Captured) -> None:
    Path("folder").mkdir()
    Path("folder/file").write_bytes(bytes(range(256)) * 40)
    assert main(["create", "-q", "-1", "whole.zllm", "folder"]) == 0
    Path("a").write_bytes(Path("whole.zllm").read_bytes()[:-5])  # a name that is in every message
    assert main([*command, "a"]) == 3
    lines = capfdbinary.readouterr().err.splitlines()
    assert lines and all(line.startswith(b"zllm: a: ") for line in lines)


def test_a_damaged_member_is_told_with_the_name_of_the_archive(capfdbinary: Captured) -> None:
    Path("file").write_bytes(random.Random(7).randbytes(10_000))
    assert main(["create", "-q", "-1", "b", "file"]) == 0
    data = bytearray(Path("b").read_bytes())
    for at in (5000, 5009):  # one wrong byte would be corrected
        data[at] ^= 1
    Path("b").write_bytes(data)
    assert main(["-t", "one.zllm", "b", "two.zllm"]) == 3
    assert capfdbinary.readouterr().err.startswith(b"zllm: b: file: ")
    assert main(["test", "b", "file"]) == 3
    assert capfdbinary.readouterr().err.startswith(b"zllm: b: file: ")


def test_signals_without_a_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = signal.getsignal(signal.SIGTERM)
    watched = signal.set_wakeup_fd(-1)  # of what ran here before
    monkeypatch.setattr(threading.Thread, "start", refuse)
    try:
        signals.install()
        with pytest.raises(signals.Interrupted):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(watched)


@pytest.mark.parametrize("mtime", [float("nan"), float("inf"), -1e300, 1e17, 2.0**87])
def test_times_that_no_calendar_has(mtime: float) -> None:
    assert list_._when(mtime) == "?"
    assert len(list_._when(0)) == 16


def test_a_bar_whose_terminal_is_gone_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        total, n = None, 0

        def update(self, count: int) -> None:
            raise OSError(5, "Input/output error")

    console = output.Console()
    lines: list[str] = []
    console.print = lines.append
    monkeypatch.setattr(progress, "wanted", lambda _: True)
    monkeypatch.setattr(progress.Progress, "_open", staticmethod(lambda *_: Gone()))
    with progress.Progress(console, "packing") as bar:
        bar(10)
        bar(10)
        console.print("a line")
    assert not bar.shown and lines == ["a line"]


def test_a_closed_stderr_gets_nothing_and_stdout_neither(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: Captured
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["-v", "one", "-2", "-o", "x.zllm"]) == 0
    assert main(["list", "gone"]) == 2
    assert capfdbinary.readouterr().out == b""
