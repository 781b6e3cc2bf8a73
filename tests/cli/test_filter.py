"""stdin to stdout, and the tar programs that call it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

needs_bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")


def gnu_tar() -> bool:
    return shutil.which("tar") is not None and "GNU" in subprocess.getoutput("tar --version")


needs_gnu_tar = pytest.mark.skipif(not gnu_tar(), reason="GNU tar is not installed")


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"no tar at all\n" * 1000, bytes(range(256)) * 300, b"\0" * 10240, os.urandom(70000), b"ZLLM"],
    ids=["empty", "one", "text", "bytes", "zeros", "random", "word"],
)
def test_any_bytes_come_back(data: bytes, zllm: Run) -> None:
    coded = zllm(data=data).stdout
    assert zllm("-d", data=coded).stdout == data
    assert zllm(data=coded).stdout == data  # the direction is in the magic bytes
    assert zllm("-d", data=zllm("-z", data=coded).stdout).stdout == coded  # unless asked


def test_levels_and_letters(zllm: Run) -> None:
    text = b"".join(b"line %d of some text\n" % n for n in range(5000))
    sizes = [len(zllm(*words, data=text).stdout) for words in (["-1"], ["-3", "-c"], ["--level", "5"], ["--no-llm"])]
    assert sizes[0] > sizes[1] > sizes[2]
    assert abs(sizes[2] - sizes[3]) < 16  # the manifest names the level, and why there is no model
    assert zllm("-dc", data=zllm("-1", data=text).stdout).stdout == text


@needs_gnu_tar
def test_gnu_tar(shell: Run, tree: Path) -> None:
    shell("tar -I zllm -cf t.zllm tree && mkdir out && tar -I zllm -xf t.zllm -C out")
    shell("diff -r --no-dereference tree out/tree")
    shell("tar -I 'zllm --level 3' -tf t.zllm | grep -q every-byte")
    shell("zllm test t.zllm && zllm extract t.zllm -C ours && diff -r --no-dereference tree ours/tree")
    assert b"tree/every-byte" in shell("zllm list t.zllm").stdout
    shell("unzllm t.zllm | tar -x -C out && unzllm < t.zllm | tar -d")


@needs_bsdtar
def test_bsdtar(shell: Run, tree: Path) -> None:
    shell("bsdtar -c --use-compress-program zllm -f t.zllm tree")
    shell("mkdir out && bsdtar -x --use-compress-program zllm -f t.zllm -C out")
    shell("diff -r --no-dereference tree out/tree")
    shell("zllm extract t.zllm -C ours && diff -r --no-dereference tree ours/tree")


@needs_gnu_tar
@pytest.mark.parametrize("format", ["v7", "ustar", "gnu", "oldgnu", "pax"])
def test_every_tar_format_comes_back_exactly(format: str, shell: Run, tree: Path) -> None:
    shell(
        f"cp 'tree/docs/read me.txt' tree/{'n' * 90}; tar --format={format} -cf t.tar tree; zllm < t.tar > t.zllm;"
        " unzllm < t.zllm | cmp - t.tar"
    )


def test_output_file(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"content" * 100)
    zllm("-9", "in", "-o", "in.zllm")
    result = zllm("-9", "in", "-o", "in.zllm", code=2)
    assert b"in.zllm already exists: pass --force" in result.stderr
    zllm("-9", "-f", "in", "-o", "in.zllm")
    zllm("-d", "in.zllm", "-o", "out")
    assert (tmp_path / "out").read_bytes() == b"content" * 100


def on_a_terminal(words: list[str], data: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Exit code, what a terminal on stdout got, and stderr."""
    ours, theirs = pty.openpty()
    stdin = subprocess.PIPE if data is not None else theirs
    command = [sys.executable, "-m", "zllm", *words]
    process = subprocess.Popen(command, stdin=stdin, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    _, errors = process.communicate(data, timeout=60)
    try:
        shown = os.read(ours, 1 << 16)
    except OSError:  # nothing was written
        shown = b""
    os.close(ours)
    return process.returncode, shown, errors


@pytest.mark.parametrize("words", [[], ["create", "-", "tree"], ["-d"]])
def test_nothing_binary_on_a_terminal(words: list[str], tree: Path, zllm: Run) -> None:
    code, shown, errors = on_a_terminal(words, zllm(data=b"x").stdout if words == ["-d"] else b"data")
    if words == ["-d"]:  # what comes out of an archive may well be text
        assert (code, shown) == (0, b"x")
        return
    assert (code, shown) == (2, b"")
    assert b"not written to a terminal" in errors


def test_a_terminal_on_stdin_gets_help() -> None:
    code, _, errors = on_a_terminal([])
    assert code == 2
    assert b"--help" in errors


def test_damage_in_a_pipe_is_code_3(zllm: Run) -> None:
    coded = bytearray(zllm("--no-llm", data=os.urandom(5000)).stdout)
    coded[len(coded) // 2] ^= 4
    assert zllm("-d", data=bytes(coded), code=3).stderr.startswith(b"zllm: ")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_pipe_that_ends_early_is_code_3(share: float, zllm: Run) -> None:
    coded = zllm("--no-llm", data=os.urandom(5000)).stdout
    assert zllm("-d", data=coded[: int(share * len(coded))], code=3).stderr.count(b"\n") == 1


def test_not_an_archive(zllm: Run) -> None:
    result = zllm("-d", data=b"plain text, no archive", code=2)
    assert b"not a zllm archive" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert zllm("-d", data=b"", code=2).stderr == b"zllm: stdin: not a zllm archive: it is empty\n"


def test_a_stream_that_is_no_tar_is_one_member(zllm: Run, tmp_path: Path) -> None:
    data = b"INSERT INTO t VALUES (1);\n" * 2000
    (tmp_path / "dump.zllm").write_bytes(zllm("-5", data=data).stdout)
    assert zllm("list", "dump.zllm").stdout == b"-\n"
    member = json.loads(zllm("list", "--json", "dump.zllm").stdout)["members"][0]
    assert (member["size"], member["codecs"]) == (len(data), ["cm"])
    zllm("test", "dump.zllm")
    assert zllm("test", "-", data=(tmp_path / "dump.zllm").read_bytes()).stderr == b""
    assert json.loads(zllm("info", "--json", "dump.zllm").stdout)["size"] == len(data)
    assert zllm("cat", "dump.zllm", "--tar").stdout == data == zllm("cat", "dump.zllm", "-").stdout
    assert b"unpack it with zllm -d" in zllm("extract", "dump.zllm", code=2).stderr
    coded = bytearray((tmp_path / "dump.zllm").read_bytes())
    coded[len(coded) // 2] ^= 1
    (tmp_path / "dump.zllm").write_bytes(coded)
    zllm("test", "dump.zllm", code=3)
