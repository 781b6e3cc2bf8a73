"""What an archive has, beside what is on disk: diff, list --checksums, test --percent."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import takeapart

from zllm.cli.main import main
from zllm.format.envelope import Kind

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """d/small, d/large, d/sub/x, two links; and a.zllm with them."""
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "small").write_bytes(b"small")
    (tmp_path / "d" / "large").write_bytes(b"large\n" * 9000)
    (tmp_path / "d" / "sub" / "x").write_bytes(b"x")
    os.link(tmp_path / "d" / "large", tmp_path / "d" / "link")
    (tmp_path / "d" / "symbolic").symlink_to("small")
    assert main(["create", "-2", "a.zllm", "d"]) == 0
    return tmp_path


def said(zllm: Run, *words: str, code: int = 1) -> list[str]:
    result = zllm("diff", *words, code=code)
    assert result.stderr == b""
    return result.stdout.decode().splitlines()


def test_no_difference(tree: Path, zllm: Run) -> None:
    assert said(zllm, "a.zllm", code=0) == said(zllm, "a.zllm", ".", code=0) == []
    zllm("extract", "a.zllm", "-C", "out")
    assert said(zllm, "a.zllm", "out", code=0) == []
    os.utime(tree / "out" / "d" / "small", (1, 1))
    assert said(zllm, "a.zllm", "out", code=0) == []
    assert b"7 members, 0 differences" in zllm("diff", "-v", "a.zllm", "out").stderr


def test_differences(tree: Path, zllm: Run) -> None:
    folder = tree / "d"
    (folder / "small").write_bytes(b"SMALL")
    (folder / "sub" / "x").chmod(0o600)
    (folder / "sub" / "added\n").touch()
    (folder / "symbolic").unlink()
    (folder / "symbolic").symlink_to("large")
    (folder / "link").unlink()
    (folder / "link").mkdir()
    assert sorted(said(zllm, "a.zllm")) == sorted(
        ["content: d/small", "mode: d/sub/x", "added: d/sub/added\\n", "link: d/symbolic", "type: d/link"]
    )
    subprocess.run(["rm", "-r", folder / "sub"], check=True)
    lines = said(zllm, "a.zllm", "--exclude", "symbolic", "--exclude", "link")
    assert sorted(lines) == ["content: d/small", "missing: d/sub", "missing: d/sub/x"]
    zllm("update", "--delete", "a.zllm", "d")
    assert said(zllm, "a.zllm", code=0) == []
    assert "missing: d/sub/x" in said(zllm, "--generation", "0", "a.zllm")


def test_a_large_file_differs_by_one_byte(tree: Path, zllm: Run) -> None:
    data = bytearray((tree / "d" / "large").read_bytes())
    data[20_000] ^= 1
    (tree / "d" / "large").write_bytes(data)
    assert said(zllm, "a.zllm") == ["content: d/large", "content: d/link"]


def test_names_that_lead_out_of_the_folder_are_not_looked_at(tree: Path, zllm: Run) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../s", str(tree / "s"), "d/../../s"):
            archive.addfile(tarfile.TarInfo(name))
    (tree / "t.zllm").write_bytes(zllm("-2", data=out.getvalue()).stdout)
    (tree / "s").touch(0o644)
    (tree / "below" / "d").mkdir(parents=True)
    assert said(zllm, "t.zllm", "below") == ["missing: ../s", f"missing: {tree / 's'}", "missing: d/../../s"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a.zllm", "nonesuch"], b"nonesuch is not a folder"),
        (["a.zllm", "d", "d"], b"one folder at a time"),
        (["d/small"], b"not a zllm archive"),
    ],
)
def test_diff_that_cannot_be(words: list[str], text: bytes, tree: Path, zllm: Run) -> None:
    assert text in zllm("diff", *words, code=2).stderr


def test_a_pipe_is_not_compared(tree: Path, zllm: Run) -> None:
    with subprocess.Popen(["cat", "a.zllm"], cwd=tree, stdout=subprocess.PIPE) as cat:
        assert b"a pipe cannot be compared" in zllm("diff", "-", stdin=cat.stdout, code=2).stderr


# list --checksums


def test_sha256sum_reads_checksums(tree: Path, zllm: Run) -> None:
    (tree / "d" / "back\\slash\nline").write_bytes(b"odd")
    (tree / "d" / "hole").write_bytes(b"")
    with (tree / "d" / "hole").open("r+b") as file:
        file.truncate(3_000_000)
        file.seek(2_000_000)
        file.write(b"data")
    (tree / "d" / "small").write_bytes(b"newer")
    zllm("update", "a.zllm", "d")
    zllm("append", "a.zllm", "d/small")
    lines = zllm("list", "--checksums", "a.zllm").stdout
    assert lines.count(b"\n") == 6 and lines.count(b"d/small") == 1
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c"], cwd=tree, check=True, input=lines)
    (tree / "d" / "small").write_bytes(b"other")
    assert subprocess.run(["sha256sum", "--status", "-c"], cwd=tree, check=False, input=lines).returncode == 1
    one = zllm("list", "--checksums", "a.zllm", "d/sub").stdout
    assert one.endswith(b"  d/sub/x\n") and one.count(b"\n") == 1


def test_checksums_of_a_pipe_and_of_what_is_damaged(tree: Path, zllm: Run) -> None:
    lines = zllm("list", "--checksums", "a.zllm").stdout
    with subprocess.Popen(["cat", "a.zllm"], cwd=tree, stdout=subprocess.PIPE) as cat:
        piped = zllm("list", "--checksums", "-", stdin=cat.stdout, code=2)
    assert piped.stdout == b"".join(line for line in lines.splitlines(keepends=True) if b"link" not in line)
    assert b"d/link" in piped.stderr
    data = bytearray((tree / "a.zllm").read_bytes())
    frame = takeapart.of_kind(bytes(data), Kind.FRAME)[0]
    for at in (10, 14):  # one wrong byte would be corrected
        data[frame.body_at + at] ^= 1
    (tree / "a.zllm").write_bytes(data)
    assert zllm("list", "--checksums", "a.zllm", code=3).stdout.count(b"\n") < lines.count(b"\n")
    for option in ("-v", "--null", "--json", "--generations"):
        assert b"leave out" in zllm("list", "--checksums", option, "a.zllm", code=2).stderr


# test --percent


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """b.zllm with 30 frames."""
    rng = random.Random(2)
    (tmp_path / "e").mkdir()
    for number in range(30):
        (tmp_path / "e" / str(number)).write_bytes(rng.randbytes(150_000).hex().encode())
    assert main(["create", "-2", "b.zllm", "e"]) == 0
    return tmp_path / "b.zllm"


def test_some_of_it_is_decoded(frames: Path, zllm: Run) -> None:
    def decoded(percent: str) -> int:
        lines = zllm("test", "--stats", "--percent", percent, "b.zllm").stderr.decode().splitlines()
        return int(next(line for line in lines if line.startswith("zstd")).split()[-3].replace(",", "") or 0)

    counts = [decoded(percent) for percent in ("1", "30", "100")]
    assert 0 < counts[0] < counts[1] < counts[2]
    assert b"all whole of the 5% that were decoded" in zllm("test", "-v", "--percent", "5", "b.zllm").stderr


@pytest.mark.parametrize("percent", ["1", "50"])
def test_damage_is_found_by_checksums(percent: str, frames: Path, zllm: Run) -> None:
    data = bytearray(frames.read_bytes())
    found = takeapart.of_kind(bytes(data), Kind.FRAME)
    for place in (found[3], found[-1]):
        for at in (500, 900):  # one wrong byte would be corrected
            data[place.body_at + at] ^= 1
    frames.write_bytes(data)
    for words, feed in ((["b.zllm"], None), (["-"], bytes(data))):
        lines = zllm("test", "--percent", percent, *words, data=feed, code=3).stderr.decode().splitlines()
        assert len(lines) == 2 and all("e/" in line for line in lines)


def test_percent_that_cannot_be(frames: Path, zllm: Run) -> None:
    for words in (["--percent", "0"], ["--percent", "101"], ["--percent", "x"], ["--percent", "5", "b.zllm", "e/1"]):
        zllm("test", *words, *(["b.zllm"] if "b.zllm" not in words else []), code=2)
