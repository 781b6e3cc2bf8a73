"""Dispatch, messages and exit codes that need no archive."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zllm.cli import options, output
from zllm.cli.main import choose, commands, main
from zllm.errors import DamagedError, MissingCodecError
from zllm.version import VERSION

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("filter", [])),
        (["-d"], ("filter", ["-d"])),
        (["-9", "-c"], ("filter", ["-9", "-c"])),
        (["create", "a", "b"], ("create", ["a", "b"])),
        (["-cvf", "a", "b"], ("create", ["-v", "-f", "a", "b"])),
        (["xf", "a"], ("extract", ["-f", "a"])),
        (["-tvvf", "a"], ("list", ["-v", "-v", "-f", "a"])),
    ],
)
def test_choose(words: list[str], expected: tuple[str, list[str]]) -> None:
    assert choose(words) == expected


def test_unzllm_always_decodes() -> None:
    assert choose(["create"], "unzllm") == ("filter", ["-d", "create"])


def test_unknown_commands_are_named(zllm: Run) -> None:
    result = zllm("creat", "a.zllm", "x", code=2)
    assert result.stderr == b"zllm: unknown command 'creat'. Did you mean create? zllm --help lists the commands\n"


def test_help_names_every_command_and_exit_code(zllm: Run) -> None:
    text = zllm("--help").stdout.decode()
    assert all(f"  {name} " in text for name in commands())
    assert "exit codes: 0" in text


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_has_help(command: str, zllm: Run) -> None:
    assert zllm(command, "--help").stdout.startswith(b"usage: zllm")


def test_help_of_create_says_what_each_level_does(zllm: Run) -> None:
    from zllm.planner.levels import LEVELS

    text = zllm("create", "--help").stdout.decode()
    assert all(f"{number}  {level.description}" in text for number, level in LEVELS.items())


@pytest.mark.parametrize(
    "words",
    [["create"], ["create", "a.zllm"], ["list"], ["create", "a.zllm", ".", "--level", "10"],
     ["list", "--nonsense", "a"], ["create", "a.zllm", ".", "-j", "0"], ["cat", "a.zllm"],
     ["create", "a.zllm", ".", "-C"]],
)  # fmt: skip
def test_usage_errors_are_one_line_and_code_2(words: list[str], zllm: Run, tmp_path: Path) -> None:
    result = zllm(*words, code=2)
    assert result.stderr.count(b"\n") == 1
    assert result.stderr.startswith(b"zllm: ")
    assert not list(tmp_path.iterdir())


def test_a_bad_variable_is_named(zllm: Run) -> None:
    result = zllm("create", "a.zllm", ".", code=2, env={**os.environ, "ZLLM_THREADS": "many"})
    assert b"ZLLM_THREADS=many" in result.stderr


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "99999", "٣", ""])
@pytest.mark.parametrize("command", ["create", "extract", "list", "test", "cat", "info", "bench", ""])
def test_bad_numbers_of_threads(command: str, value: str, zllm: Run) -> None:
    words = [command] if command else []
    result = zllm(*words, f"--threads={value}", "x.zllm", "x", code=2)
    assert result.stderr.count(b"\n") == 1 and b"is not a number from 1 to 1024" in result.stderr
    if value:
        result = zllm("extract", "x.zllm", "-j", value, code=2) if value[0] != "-" else result
        assert b"is not a number from 1 to 1024" in result.stderr


def test_the_option_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    options.threads(parser)
    monkeypatch.setenv("ZLLM_THREADS", "3")
    assert options.thread_count(parser.parse_args([])) == 3
    assert options.thread_count(parser.parse_args(["-j", "5"])) == 5
    assert options.thread_count(parser.parse_args(["--threads", "1"])) == 1
    monkeypatch.delenv("ZLLM_THREADS")
    assert options.thread_count(parser.parse_args([])) is None


def test_the_default_is_every_processor_that_may_be_used() -> None:
    from zllm.archive.options import thread_count

    assert thread_count(None) == len(os.sched_getaffinity(0))
    assert thread_count(7) == 7


def test_version(zllm: Run) -> None:
    assert zllm("--version").stdout == f"zllm {VERSION}\n".encode()


@given(st.text())
def test_nothing_unprintable_is_printed(name: str) -> None:
    shown = output.printable(name)
    assert shown.isprintable()
    if name.isprintable() and "\\" not in name:
        assert shown == name


def test_printable_escapes_as_tar_does() -> None:
    assert output.printable("a\nb\x1b[31m" + os.fsdecode(b"\xff")) == "a\\nb\\033[31m\\377"


def test_the_gravest_code_wins() -> None:
    console = output.Console()
    console.print = lambda _: None
    for status, expected in ((1, 1), (2, 2), (1, 2), (4, 4), (2, 4), (3, 3), (4, 3)):
        console.raise_status(status)
        assert console.status == expected


def test_messages() -> None:
    full = OSError(28, "No space left on device", "out")
    assert output.message(full).startswith("out: No space left on device: free")
    assert "please report" in output.message(ValueError("boom"))
    assert output.message(DamagedError("frame 3 does not match")) == "frame 3 does not match"
    assert "codec id 9" in output.message(MissingCodecError(9))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234567, "1.23 MB"), (5e15, "5e+03 TB")]
)
def test_size(size: float, text: str) -> None:
    assert output.size(size) == text


def test_a_program_that_goes_on_has_its_signals_and_descriptors_back(tmp_path):
    """main() in a process of somebody else's: a test runner that is stopped must not die by our handlers."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert main(["--version"]) == 0
    descriptors = os.listdir("/proc/self/fd")
    for _ in range(20):
        assert main(["list", str(tmp_path / "none.zllm")]) == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > len(descriptors) and time.monotonic() < deadline:
        time.sleep(0.01)  # the thread that watched closes its end
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)
