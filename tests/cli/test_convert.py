"""zllm convert: from archives that real programs made, and to archives that they read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm as package
from zllm.cli.main import main

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
FAST = ("-2", "-q")
UNCOMPRESS = {"tar.gz": "gzip", "tar.bz2": "bzip2", "tar.xz": "xz", "tar.zst": "zstd"}


def run(*words: str) -> bytes:
    return subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def convert(*words: str, code: int = 0) -> None:
    assert main(["convert", *FAST, *words]) == code


def refused(capsys: pytest.CaptureFixture[str], code: int, said: str, *words: str) -> None:
    """It fails with one line, and leaves no file but those that were there."""
    before = sorted(os.listdir())
    capsys.readouterr()
    convert(*words, code=code)
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1, line
    assert sorted(os.listdir()) == before


def stream_of(name: str) -> bytes:
    """The tar stream that an archive holds."""
    archive = Path(name).read_bytes()
    return package.decompress(archive)


@pytest.mark.parametrize("writer", ["tar --format=gnu", "tar --format=v7", "tar --format=pax", "bsdtar --format=ustar"])
def test_a_tar_is_kept_byte_for_byte(tree: Path, writer: str) -> None:
    run(*writer.split(), "-cf", "a.tar", "tree/docs" if "v7" in writer else "tree")
    with open("a.tar", "ab") as file:
        file.write(b"\0" * 4096 + b"behind its end")
    convert("a.tar", "a.zllm")
    convert("a.zllm", "b.tar")
    assert Path("b.tar").read_bytes() == Path("a.tar").read_bytes() == stream_of("a.zllm")


@pytest.mark.parametrize("kind", sorted(UNCOMPRESS))
def test_compressed_tars_both_ways(tree: Path, kind: str) -> None:
    program = UNCOMPRESS[kind]
    run("tar", "-cf", "a.tar", "tree")
    run("tar", f"--{program}", "-cf", "any-name", "tree")
    convert("any-name", "a.zllm")
    convert("a.zllm", f"b.{kind}")
    assert run(program, "-dc", f"b.{kind}") == run(program, "-dc", "any-name") == Path("a.tar").read_bytes()
    first = Path(f"b.{kind}").read_bytes()
    time.sleep(0.01)
    convert("--force", "a.zllm", f"b.{kind}")
    assert Path(f"b.{kind}").read_bytes() == first  # no time, no name
    assert run("tar", "-df", f"b.{kind}") == b""


def test_an_archive_may_take_its_own_place(tree: Path) -> None:
    assert main(["create", "-1", "-q", "a.zllm", "tree"]) == 0
    before = stream_of("a.zllm")
    size = Path("a.zllm").stat().st_size
    convert("--force", "--level", "4", "a.zllm", "a.zllm")
    assert stream_of("a.zllm") == before and Path("a.zllm").stat().st_size < size


def test_several_streams_one_after_the_other(tree: Path) -> None:
    run("tar", "-cf", "a.tar", "tree")
    data = Path("a.tar").read_bytes()
    import zstandard

    for name, squeeze in (
        ("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstandard.compress)
    ):  # fmt: skip
        Path(name).write_bytes(squeeze(data[:3000]) + squeeze(b"") + squeeze(data[3000:]))
        convert("--force", name, "a.zllm")
        assert stream_of("a.zllm") == data


def facts(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that a zip has of a tree, by name."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *folder.rglob("*")]:
        state = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = state.st_mode, int(state.st_mtime), what
    return found


@pytest.mark.parametrize("unpack", ["unzip -q a.zip -d out", "bsdtar -xpf a.zip -C out"])
def test_to_zip_as_others_unpack_it(tree: Path, unpack: str) -> None:
    assert main(["create", *FAST, "a.zllm", "tree"]) == 0
    convert("a.zllm", "a.zip")
    os.mkdir("out")
    run(*unpack.split())
    expected, got = facts(tree), facts(Path("out/tree"))
    link = [name for name in expected if os.path.islink(tree / name)]
    assert link == ["link"]
    for name in link:  # unzip and bsdtar leave its time as it is now
        expected[name], got[name] = (0, *expected[name][2:]), (0, *got[name][2:])
    assert got == expected
    with zipfile.ZipFile("a.zip") as file:
        assert file.testzip() is None


def test_from_zip_to_zip_nothing_is_lost(tree: Path) -> None:
    run("zip", "-q", "-r", "--symlinks", "a.zip", "tree")
    with zipfile.ZipFile("a.zip", "a") as file:
        entry = zipfile.ZipInfo("note", (1999, 5, 7, 10, 20, 30))
        entry.comment, entry.external_attr = "ein Grüß".encode(), 0o100600 << 16
        file.writestr(entry, b"data")
        windows = zipfile.ZipInfo("win.txt", (2001, 1, 1, 0, 0, 0))
        windows.create_system = 0
        windows.extra = struct.pack("<HHIHHQQQ", 10, 32, 0, 1, 24, (11_644_473_600 + 10**9) * 10**7 + 1234567, 0, 0)
        file.writestr(windows, b"w")
    convert("a.zip", "a.zllm")
    with package.open("a.zllm") as archive:
        note = archive.getmember("note")
        assert time.localtime(note.mtime)[:6] == (1999, 5, 7, 10, 20, 30) and note.mode == 0o600
        assert run("tar", "-xOf", _tar("a.zllm"), "note") == b"data"
        win = archive.getmember("win.txt")
        assert win.pax_headers["mtime"] == "1000000000.1234567" and win.mode == 0o644
        script = archive.getmember("tree/script.sh")
        assert (script.uid, script.gid) == (os.getuid(), os.getgid())
    convert("a.zllm", "b.zip")
    with zipfile.ZipFile("a.zip") as old, zipfile.ZipFile("b.zip") as new:
        assert new.namelist() == old.namelist()
        for one, other in zip(old.infolist(), new.infolist(), strict=True):
            assert new.read(other) == old.read(one)
            if one.filename not in ("note", "win.txt"):
                assert other.external_attr >> 16 == one.external_attr >> 16
                assert other.date_time[:5] == one.date_time[:5]
                assert other.extra[:4] == one.extra[:4] == b"UT\5\0" and other.extra[5:9] == one.extra[5:9]  # exact
        assert new.getinfo("note").comment.decode() == "ein Grüß"


def _tar(name: str) -> str:
    convert("--force", name, "seen.tar")
    return "seen.tar"


def test_what_a_zip_cannot_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    Path(os.fsdecode(b"not-\xff-utf8")).write_bytes(b"x")
    Path("fine").write_bytes(b"y")
    assert main(["create", *FAST, "a.zllm", "pipe", os.fsdecode(b"not-\xff-utf8"), "fine"]) == 0
    convert("a.zllm", "a.zip", code=1)
    said = capsys.readouterr().err
    assert "pipe: a zip has files, folders and symbolic links only: skipped" in said and "is not UTF-8" in said
    assert run("unzip", "-Z1", "a.zip") == b"fine\n"


def test_of_members_of_one_name_the_last_is_in_the_zip(tmp_path: Path) -> None:
    with tarfile.open("a.tar", "w") as tar:
        for text in (b"old", b"new"):
            (tmp_path / "f").write_bytes(text)
            tar.add("f")
    convert("a.tar", "a.zllm")
    convert("a.zllm", "a.zip")
    assert run("unzip", "-Z1", "a.zip") == b"f\n" and run("unzip", "-p", "a.zip", "f") == b"new"


@pytest.mark.skipif(not (shutil.which("7z") and shutil.which("bsdtar")), reason="needs 7z and bsdtar")
def test_7z_by_bsdtar(tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run("7z", "a", "-bd", "-snl", "a.7z", "tree")
    convert("a.7z", "a.zllm")
    os.mkdir("out")
    assert main(["extract", "-q", "a.zllm", "-C", "out"]) == 0
    expected, got = facts(tree), facts(Path("out/tree"))
    assert {name: what for name, (*_, what) in got.items()} == {name: what for name, (*_, what) in expected.items()}
    assert got["script.sh"][:2] == expected["script.sh"][:2]
    run("7z", "a", "-bd", "-psecret", "locked.7z", "tree/docs")
    run("7z", "a", "-bd", "-psecret", "-mhe=on", "hidden.7z", "tree/docs")
    Path("cut.7z").write_bytes(Path("a.7z").read_bytes()[:-30])
    refused(capsys, 3, "locked.7z: the 7z archive is damaged, cut off or encrypted", "locked.7z", "x.zllm")
    refused(capsys, 4, "hidden.7z: the 7z archive is encrypted", "hidden.7z", "x.zllm")
    refused(capsys, 3, "cut.7z: the 7z archive is damaged or cut off: Malformed", "cut.7z", "x.zllm")
    monkeypatch.setenv("PATH", "/nowhere")
    refused(capsys, 2, "install libarchive's tools", "a.7z", "x.zllm")


def test_another_level_model_and_key(tree: Path, zllm: Run, capsys: pytest.CaptureFixture[str], prose: bytes) -> None:
    assert main(["create", "-1", "-q", "a.zllm", "tree"]) == 0
    Path("prose").write_bytes(prose[:30_000])
    run("tar", "-cf", "prose.tar", "prose")
    Path("pass").write_text("open sesame")
    zllm("convert", "--level", "6", "--model", "fast", "--encrypt", "--passphrase-file", "pass", "a.zllm", "b.zllm")
    key = ("--passphrase-file", "pass")
    assert b" cm " in zllm("list", "-v", *key, "b.zllm").stdout and b" cm " not in zllm("list", "-v", "a.zllm").stdout
    zllm("convert", "--model", "fast", "prose.tar", "e.zllm")
    zllm("convert", "--model", "default", "e.zllm", "f.zllm")
    for name, model in (("e.zllm", "fast"), ("f.zllm", "default")):
        assert f'"{model}"'.encode() in zllm("info", "--json", name).stdout
    done = zllm("convert", "-3", *key, "b.zllm", "c.zllm")
    assert b"the source is encrypted, and the target is not" in done.stderr
    assert stream_of("c.zllm") == stream_of("a.zllm")
    zllm("convert", "-3", *key, "--encrypt", "b.zllm", "d.zllm")
    assert zllm("list", *key, "d.zllm").stdout == zllm("list", "a.zllm").stdout
    refused(capsys, 4, "b.zllm: the archive is encrypted", "b.zllm", "x.tar")


def test_a_raw_stream_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("raw.zllm").write_bytes(package.compress(b"no tar " * 500, level=1))
    convert("raw.zllm", "b.zllm")
    assert stream_of("b.zllm") == b"no tar " * 500
    refused(capsys, 2, "not a tar archive", "raw.zllm", "x.tar")
    refused(capsys, 2, "a single raw stream", "raw.zllm", "x.zip")


def test_pipes(tree: Path, shell: Run) -> None:
    run("tar", "-cf", "a.tar", "tree")
    shell("zllm convert -3 - - --to zllm < a.tar | zllm convert - - --to tar.xz | xz -d | cmp - a.tar")
    shell("cat a.tar | gzip | zllm convert -3 - a.zllm && zllm convert a.zllm - --to zip | bsdtar -tf - > names")
    assert b"tree/script.sh" in Path("names").read_bytes()
    done = shell("cat a.zllm | zllm convert - hard.zip", code=2)  # it has a hard link
    assert b"a hard link, whose data is before it in the pipe" in done.stderr and not os.path.exists("hard.zip")
    shell("zllm convert a.zllm -f 2>&1 | grep -q 'unknown\\|required\\|missing\\|-f'")


def test_broken_and_locked_sources_leave_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("tar", "-cf", "a.tar", "tree")
    data = Path("a.tar").read_bytes()
    Path("cut.tar").write_bytes(data[:2000])
    refused(capsys, 2, "cut.tar: the tar stream breaks off", "cut.tar", "x.zllm")
    Path("bad.tar").write_bytes(data[:512] + b"?" * 512 + data[512:])
    refused(capsys, 2, "bad.tar: the tar stream is damaged", "bad.tar", "x.zllm")
    for kind, program in UNCOMPRESS.items():
        whole = subprocess.run([program, "-c", "a.tar"], check=True, capture_output=True).stdout
        Path("broken").write_bytes(whole[:-4])
        refused(capsys, 3, f"broken: the {kind} archive is damaged or cut off", "broken", "x.zllm")
        Path("text").write_bytes(
            subprocess.run([program, "-c"], input=b"text " * 999, check=True, capture_output=True).stdout
        )
        refused(capsys, 2, "what is in it is not a tar archive", "text", "x.zllm")
    run("zip", "-q", "-r", "a.zip", "tree")
    archive = bytearray(Path("a.zip").read_bytes())
    archive[archive.index(b"\nhello") - 8 if b"\nhello" in archive else 60] ^= 1
    Path("bad.zip").write_bytes(archive[:-200])
    refused(capsys, 3, "bad.zip: the zip archive is damaged or cut off", "bad.zip", "x.zllm")
    run("zip", "-q", "-P", "secret", "locked.zip", "tree/script.sh")
    refused(capsys, 4, "locked.zip: tree/script.sh: it is encrypted", "locked.zip", "x.zllm")
    assert main(["create", *FAST, "a.zllm", "tree"]) == 0
    Path("half.zllm").write_bytes(Path("a.zllm").read_bytes()[:-3000])
    for target in ("x.tar", "x.tar.gz", "x.zip", "x.zllm"):
        convert("half.zllm", target, code=3)
        assert not os.path.exists(target)


def test_a_zip_whose_data_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("a.zip", "w") as file:
        file.writestr("f", b"stored data")
    Path("b.zip").write_bytes(Path("a.zip").read_bytes().replace(b"stored", b"stoned"))
    refused(capsys, 3, "Bad CRC-32", "b.zip", "x.zllm")


def test_a_tar_without_its_end_is_said(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("tar", "-cf", "a.tar", "tree/nothing")
    Path("b.tar").write_bytes(Path("a.tar").read_bytes()[:512])
    convert("b.tar", "b.zllm", code=1)
    assert "b.tar: the tar has no end: it may be cut off" in capsys.readouterr().err
    assert stream_of("b.zllm") == Path("b.tar").read_bytes()


def test_what_makes_no_sense(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("tar", "-cf", "a.tar", "tree")
    Path("void").write_bytes(b"")
    Path("text").write_bytes(b"plain text")
    convert("a.tar", "a.zllm")
    refused(capsys, 2, "does not tell a format: --to does", "a.tar", "-")
    refused(capsys, 2, "tar to zip: one of the two has to be a zllm archive", "a.tar", "x.zip")
    refused(capsys, 2, "void: it is empty", "void", "x.zllm")
    refused(capsys, 2, "text: an unknown format", "text", "x.zllm")
    refused(capsys, 2, "already exists: pass --force", "a.tar", "a.zllm")
    refused(capsys, 2, "--parity has no effect: x.tar is not to be a zllm archive", "a.zllm", "x.tar", "--parity", "5%")
    refused(capsys, 2, "--generation has no effect", "a.tar", "x.zllm", "--generation", "0")
    convert("--to", "tgz", "a.zllm", "x", code=2)
    refused(capsys, 2, "nosuch: No such file or directory", "nosuch", "x.zllm")
    refused(capsys, 2, "is a folder", "tree", "x.zllm")


def test_a_link_that_is_too_long_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Where links lead is held in memory."""
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(entry, b"x" * 70_000)
        file.writestr("f", b"data")
    convert("a.zip", "a.zllm", code=1)
    assert "link: a link of 70000 bytes: skipped" in capsys.readouterr().err
    with package.open("a.zllm") as archive:
        assert archive.getnames() == ["f"]
