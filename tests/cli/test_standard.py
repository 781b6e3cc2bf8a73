"""Stdin, stdout and stderr: closed, full, gone, or of another encoding. In processes: they are the process's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm.cli import names, output, standard

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
MAGIC = b"\x8dZLM"


@pytest.fixture
def archive(zllm: Run, tmp_path: Path) -> bytes:
    (tmp_path / "f").write_bytes(b"some content\n")
    zllm("create", "-2", "a.zllm", "f")
    return (tmp_path / "a.zllm").read_bytes()


CLOSED = (">&-", "2>&-", "<&- >&- 2>&-")


@pytest.mark.parametrize("closed", CLOSED)
def test_work_is_done_without_streams(closed: str, archive: bytes, shell: Run, tmp_path: Path) -> None:
    """What goes to a file does not need stdout, and nothing needs stderr."""
    result = shell(
        f"zllm create -2 b.zllm f {closed} && zllm extract -v b.zllm -C out {closed} && zllm test -v a.zllm {closed}"
    )
    assert result.stdout + result.stderr == b"" or "2>" not in closed
    assert (tmp_path / "b.zllm").read_bytes() == archive
    assert (tmp_path / "out/f").read_bytes() == b"some content\n"


def test_messages_never_get_into_data(archive: bytes, shell: Run, tmp_path: Path) -> None:
    shell("zllm -2 -v < f 2>&- > b.zllm; zllm -dc b.zllm 2>&- > out; zllm -2 --device cpu -o c.zllm f 2>&- >&-")
    assert (tmp_path / "b.zllm").read_bytes()[:4] == MAGIC == (tmp_path / "c.zllm").read_bytes()[:4]
    assert (tmp_path / "out").read_bytes() == b"some content\n"
    shell("zllm create -2 -v d.zllm f gone <&- >&- 2>&-; echo $? > code; zllm test d.zllm")
    assert (tmp_path / "code").read_text() == "1\n"


WRITING = ("list a.zllm", "list --null a.zllm", "cat a.zllm f", "-dc a.zllm", "create -2 - f", "--help", "list --help")


@pytest.mark.parametrize("words", WRITING)
def test_a_stdout_that_takes_nothing_is_an_error(words: str, archive: bytes, shell: Run) -> None:
    for place, why in ((">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")):
        result = shell(f"zllm {words} {place}", code=2)
        assert result.stderr.startswith(f"zllm: stdout: {why}".encode()) and result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", WRITING)
def test_a_reader_that_left_ends_it_quietly(words: str, archive: bytes, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "zllm", *words.split()]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("words", ["list -", "-d", "create -2 -T - b.zllm"])
def test_a_closed_stdin_is_not_empty(words: str, archive: bytes, shell: Run, tmp_path: Path) -> None:
    result = shell(f"zllm {words} <&-", code=2)
    assert result.stderr == b"zllm: stdin: Bad file descriptor\n" and result.stdout == b""
    assert not (tmp_path / "b.zllm").exists()


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PLACES = (ASCII, {"PYTHONIOENCODING": "ascii:strict"}, {"PYTHONIOENCODING": "latin-1"})
NAMES = (
    "za\u017c\u00f3\u0142\u0107",
    "\u65e5",
    "e\u0301",
    "\U0001f600",
    "\udcff\udcfe",
    "a\x1b[31m\nb",
    "plain",
    "back\\slash",
)


@pytest.fixture
def names_archive(zllm: Run, tmp_path: Path) -> list[bytes]:
    (tmp_path / "n").mkdir()
    for name in NAMES:
        (tmp_path / "n" / name).write_text("x")
    zllm("create", "-2", "--no-recursion", "a.zllm", "-C", "n", *NAMES)
    return [os.fsencode(name) for name in NAMES]


@pytest.mark.parametrize("place", PLACES)
def test_names_in_other_encodings(place: dict[str, str], names_archive: list[bytes], zllm: Run) -> None:
    env = {**os.environ, **place}
    lines = zllm("list", "a.zllm", env=env).stdout.splitlines()
    encoding = place.get("PYTHONIOENCODING", "ascii").partition(":")[0]
    assert [unescaped(line, encoding) for line in lines] == names_archive
    assert all(0x20 <= byte < 0x7F or byte > 0xA0 for line in lines for byte in line)
    assert zllm("list", "--null", "a.zllm", env=env).stdout == b"\0".join(names_archive) + b"\0"
    found = json.loads(zllm("list", "--json", "a.zllm", env=env).stdout)["members"]
    assert [names.to_bytes(member["name"]) for member in found] == names_archive
    verbose = zllm("list", "-v", "a.zllm", env=env).stdout.splitlines()
    assert len(verbose) == len(NAMES) + 2
    error = zllm("list", os.fsencode("n\u00f3\u65e5.zllm"), env=env, code=2).stderr
    assert unescaped(error.rstrip(), encoding) == "zllm: n\u00f3\u65e5.zllm: No such file or directory".encode()


def unescaped(line: bytes, encoding: str) -> bytes:
    """The bytes of the name that ``list`` shows as ``line``."""
    result, rest = b"", line.decode(encoding)
    single = {"n": b"\n", "\\": b"\\"}
    while rest:
        if rest[0] != "\\":
            result, rest = result + rest[0].encode(), rest[1:]
        elif rest[1] in single:
            result, rest = result + single[rest[1]], rest[2:]
        else:
            result, rest = result + bytes([int(rest[1:4], 8)]), rest[4:]
    return result


@pytest.mark.parametrize("char", ["\u017c", "\udc80", "\ud800", "\x85", "\U0001f600"])
def test_octal(char: str) -> None:
    assert standard.octal(char) == "".join(f"\\{byte:03o}" for byte in names.to_bytes(char))
    assert output.printable("\x85\ud800").isascii()


def test_names_as_bytes() -> None:
    assert names.to_bytes(names.of_member(os.fsdecode(b"\xff\xc5\xbc"))) == b"\xff\xc5\xbc"
    assert names.of_member("\u017c") == "\u017c"
