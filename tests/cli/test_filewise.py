"""zllm FILE... as people use zstd: each FILE becomes FILE.zllm, and back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm as library
from zllm import partial
from zllm.cli import filewise
from zllm.cli.main import choose, main

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZLLM_LEVEL", raising=False)
    for name in ("one", "two"):
        Path(name).write_text(name * 1000)


def names() -> list[str]:
    return sorted(os.listdir())


def test_there_and_back(capsys: Captured) -> None:
    os.utime("one", ns=(5, 1_234_567_890_123_456_789))
    Path("one").chmod(0o640)
    assert main(["-2", "one", "two"]) == 0
    assert names() == ["one", "one.zllm", "two", "two.zllm"], "inputs are kept"
    assert Path("one.zllm").read_bytes() == library.compress(b"one" * 1000, 2)
    for name in ("one", "two"):
        os.rename(name, f"{name}.old")
    assert main(["-d", "one.zllm", "two.zllm"]) == 0
    assert Path("one").read_text() == "one" * 1000 and Path("two").read_text() == "two" * 1000
    for name in ("one", "one.zllm"):
        assert os.stat(name).st_mode & 0o777 == 0o640 and os.stat(name).st_mtime_ns == 1_234_567_890_123_456_789
    assert capsys.readouterr() == ("", ""), "a script that succeeds prints nothing"


def test_a_file_is_enough(zllm: Run, tmp_path: Path) -> None:
    assert choose(["one"]) == ("filter", ["one"]) and choose(["./one", "-2"]) == ("filter", ["./one", "-2"])
    zllm("one", "-2", "two")
    assert zllm("-dc", "one.zllm", "two.zllm").stdout == b"one" * 1000 + b"two" * 1000
    assert sorted(os.listdir(tmp_path)) == ["one", "one.zllm", "two", "two.zllm"]


def test_a_command_wins_over_a_file_of_that_name(capsys: Captured) -> None:
    Path("list").write_text("text")
    assert choose(["list"])[0] == "list"
    assert main(["-2", "list"]) == 0 == main(["./list", "-2f"])
    assert library.decompress(Path("list.zllm").read_bytes()) == b"text"


def test_what_exists_is_not_overwritten(capsys: Captured) -> None:
    Path("one.zllm").write_text("precious")
    assert main(["-2", "one", "two"]) == 2
    assert capsys.readouterr().err == "zllm: one.zllm already exists: pass --force to replace it\n"
    assert Path("one.zllm").read_text() == "precious" and library.is_zllmfile("two.zllm"), "the others follow"
    assert main(["-2f", "one"]) == 0
    Path("one").write_text("changed")
    assert main(["-d", "one.zllm"]) == 2
    assert "one already exists" in capsys.readouterr().err and Path("one").read_text() == "changed"
    assert main(["-df", "one.zllm"]) == 0 and Path("one").read_text() == "one" * 1000


def test_rm_removes_what_is_proved(capsys: Captured) -> None:
    assert main(["-2", "--rm", "one", "two"]) == 0
    assert names() == ["one.zllm", "two.zllm"]
    assert main(["-d", "--rm", "one.zllm"]) == 0
    assert names() == ["one", "two.zllm"] and Path("one").read_text() == "one" * 1000
    assert main(["-d", "-k", "two.zllm"]) == 0
    assert names() == ["one", "two", "two.zllm"]


def test_rm_keeps_what_was_not_coded(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    Path("one.zllm").write_text("there")
    assert main(["-2", "--rm", "one"]) == 2 and Path("one").exists()
    assert main(["-2", "-o", "good.zllm", "two"]) == 0
    data = bytearray(Path("good.zllm").read_bytes())
    data[30] ^= 0x55
    Path("bad.zllm").write_bytes(data)
    assert main(["-d", "--rm", "bad.zllm"]) == 3 and Path("bad.zllm").exists()
    Path("longer.zllm").write_bytes(Path("good.zllm").read_bytes() + b"more than that")
    capsys.readouterr()
    assert main(["-d", "--rm", "longer.zllm"]) == 1
    assert Path("longer.zllm").exists() and Path("longer").read_text() == "two" * 1000
    assert "longer.zllm is kept because of the warning" in capsys.readouterr().err


def test_rm_compares_what_is_on_the_disk(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(filewise.Filewise, "_decoded", lambda self, final: b"another hash")
    assert main(["-2", "--rm", "one"]) == 2
    assert "one.zllm did not decode to one, so it is removed, and one is kept" in capsys.readouterr().err
    assert names() == ["one", "two"]


def test_rm_keeps_what_changed_meanwhile(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    before = filewise.Filewise._decoded

    def changing(self: filewise.Filewise, final: str) -> bytes:
        Path("one").write_text("new text")
        return before(self, final)

    monkeypatch.setattr(filewise.Filewise, "_decoded", changing)
    assert main(["-2", "--rm", "one"]) == 1
    assert "one changed while it was read: it is kept" in capsys.readouterr().err
    assert Path("one").read_text() == "new text"


def test_rm_and_links(capsys: Captured) -> None:
    os.symlink("one", "link")
    assert main(["-2", "--rm", "link"]) == 1
    assert "link is a link: it is kept" in capsys.readouterr().err
    assert names() == ["link", "link.zllm", "one", "two"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-d", "one"], "one does not end with .zllm: -o or -c says where to write"),
        (["-d", "gone.zllm"], "gone.zllm: No such file or directory"),
        (["-2", "gone"], "gone: No such file or directory"),
        (["-d", "fake.zllm"], "fake.zllm: not a zllm archive (wrong magic bytes)"),
        (["-2", "folder"], "folder is a folder: zllm create ARCHIVE FOLDER packs it"),
        (["-d", "folder"], "folder is a folder, not an archive"),
        (["-d", "folder.zllm"], "folder is a folder: zllm extract folder.zllm unpacks what is in it"),
        (["-2", "folder.zllm"], "folder.zllm is an archive already: -d decompresses it"),
        (["--rm", "-c", "one"], "--rm is for FILEs that become files of their own"),
        (["--rm", "-o", "x", "one"], "--rm is for FILEs that become files of their own"),
        (["--rm"], "--rm is for FILEs that become files of their own"),
        (["-k", "--rm", "one"], "not allowed with"),
        (["--rm", "--recipient", "zllm-public-x", "one"], "which takes a key: add --identity, or leave it out"),
        (["-l", "--rm", "folder.zllm"], "-l writes nothing: leave out --rm"),
        (["-l", "-o", "x", "folder.zllm"], "-l writes nothing: leave out -o"),
        (["-l", "-d", "folder.zllm"], "not allowed with"),
        (["-l", "one"], "one: not a zllm archive"),
    ],
)
def test_refusals(words: list[str], said: str, capsys: Captured) -> None:
    Path("folder").mkdir()
    Path("fake.zllm").write_text("no archive")
    assert main(["create", "-2", "folder.zllm", "folder"]) == 0
    before = names()
    assert main(words) == 2
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1
    assert names() == before


def test_z_compresses_an_archive_again() -> None:
    assert main(["-2", "one"]) == 0 == main(["-z2", "one.zllm"])
    assert library.decompress(Path("one.zllm.zllm").read_bytes()) == Path("one.zllm").read_bytes()


def test_a_tar_stream_is_named(capsys: Captured) -> None:
    assert main(["create", "-2", "both.zllm", "one", "two"]) == 0
    assert main(["-d", "both.zllm"]) == 0
    assert capsys.readouterr().err == "zllm: both is a tar stream: zllm extract both.zllm unpacks what is in it\n"
    os.rename("both.zllm", "both.tar.zllm")
    assert main(["-d", "both.tar.zllm"]) == 0
    assert capsys.readouterr().err == "" and Path("both.tar").read_bytes() == Path("both").read_bytes()


def test_sizes_are_listed(capsys: Captured) -> None:
    assert main(["-2", "one"]) == 0 == main(["create", "-2", "both.zllm", "one", "two"])
    assert main(["-l", "one.zllm", "gone", "both.zllm"]) == 2
    out, err = capsys.readouterr()
    head, first, second, last = (line.split() for line in out.splitlines())
    sizes = [Path(name).stat().st_size for name in ("one.zllm", "both.zllm")]
    assert head == ["compressed", "uncompressed", "ratio", "name"]
    assert first == [str(sizes[0]), "3000", f"{3000 / sizes[0]:.3f}", "one.zllm"]
    assert second == [str(sizes[1]), "10240", f"{10240 / sizes[1]:.3f}", "both.zllm", "(2", "members)"]
    assert last[:2] == [str(sum(sizes)), "13240"] and last[3:] == ["2", "files"]
    assert err == "zllm: gone: No such file or directory\n"


def test_stdin_and_pipes_have_no_name(zllm: Run, shell: Run) -> None:
    assert zllm("-2", "-", data=b"text").stdout == library.compress(b"text", 2)
    shell("zllm -2 <(cat one) > pipe.zllm && zllm -d - < pipe.zllm | cmp - one && test ! -e pipe")
    assert b"-l is for files, not for pipes" in shell("cat pipe.zllm | zllm -l", code=2).stderr


def test_unzllm_writes_to_stdout_as_the_one_in_c_does(shell: Run) -> None:
    shell("zllm -2 one && unzllm one.zllm | cmp - one && rm one && unzllm -o one one.zllm && test -s one")


def test_an_interrupted_run_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device", "one.zllm")

    monkeypatch.setattr(os, "fsync", failing)
    assert main(["-2", "--rm", "one"]) == 2
    assert names() == ["one", "two"]


# ZLLM_LEVEL


def test_the_level_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("ZLLM_LEVEL", "1")
    assert main(["one"]) == 0 == main(["-3", "two"]) == main(["create", "a.zllm", "one"])
    assert Path("one.zllm").read_bytes() == library.compress(b"one" * 1000, 1)
    assert Path("two.zllm").read_bytes() == library.compress(b"two" * 1000, 3)
    capsys.readouterr()
    assert main(["info", "--json", "a.zllm"]) == 0
    assert '"level": 1' in capsys.readouterr().out
    monkeypatch.setenv("ZLLM_LEVEL", "3")
    assert main(["append", "a.zllm", "two"]) == 0, "what is added gets the archive's level"
    for wrong in ("19", "0", "fast"):
        monkeypatch.setenv("ZLLM_LEVEL", wrong)
        assert main(["-f", "one"]) == 2
        assert f"ZLLM_LEVEL='{wrong}' is not a level: levels are 1 to 9" in capsys.readouterr().err
    monkeypatch.setenv("ZLLM_LEVEL", "")
    with pytest.raises(SystemExit):
        main_help()
    assert "default: 6" in capsys.readouterr().out


def main_help() -> None:
    from zllm.cli import filter

    filter.parser().parse_args(["--help"])


def test_nobody_else_reads_what_only_the_owner_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it is written, nor when it replaces a file that everybody may read."""
    seen: list[int] = []
    create = partial.create

    def watched(target: str, mode: int = 0o666) -> tuple[int, str]:
        descriptor, name = create(target, mode)
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor, name

    monkeypatch.setattr(partial, "create", watched)
    Path("one").chmod(0o400)
    Path("one.zllm").write_text("old")
    Path("one.zllm").chmod(0o644)
    assert main(["-2f", "one"]) == 0 and os.stat("one.zllm").st_mode & 0o777 == 0o400
    os.unlink("one")
    assert main(["-d", "one.zllm"]) == 0 and os.stat("one").st_mode & 0o777 == 0o400
    assert seen == [0o600, 0o600]


@pytest.mark.parametrize("options", [["-2f"], ["-2f", "--rm"]])
def test_a_link_to_the_input_is_not_written_through(options: list[str], capsys: Captured) -> None:
    os.symlink("one", "one.zllm")
    assert main([*options, "one"]) == 2
    assert "is a link to one" in capsys.readouterr().err
    assert Path("one").read_text() == "one" * 1000 and os.path.islink("one.zllm")
    assert main(["-2", "two"]) == 0
    os.unlink("two")
    os.symlink("two.zllm", "two")
    assert main(["-df", "two.zllm"]) == 2
    assert library.is_zllmfile("two.zllm"), "the archive stays"
