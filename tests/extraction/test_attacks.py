"""Archives that try to write, link or set modes outside of the folder they are extracted to."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from extraction import tars
from extraction.tars import FILE, FOLDER, HARD, PIPE, SYMBOLIC, member

import zllm

EVIL = b"overwritten\n"


def link(name: bytes, target: bytes) -> bytes:
    return member(name, kind=SYMBOLIC, link=target, mode=0o777)


def folder(name: bytes, mode: int = 0o777) -> bytes:
    return member(name, kind=FOLDER, mode=mode, mtime=1)


def hard(name: bytes, target: bytes) -> bytes:
    return member(name, kind=HARD, link=target)


def realpath_gives_up() -> list[bytes]:
    """Links in folders with long names: the path that they lead to is longer than PATH_MAX."""
    long, path, parts = b"d" * 247, b"", []
    for step in b"abcdefghijklmnop":
        parts.append(folder(path + long))
        parts.append(link(path + bytes([step]), long))
        path += long + b"/"
    way = b"/".join(bytes([step]) for step in b"abcdefghijklmnop") + b"/" + b"l" * 254
    return [*parts, link(way, b"../" * 16), link(b"escape", way + b"/.."), member(b"escape/victim", EVIL)]


def chain(length: int) -> list[bytes]:
    """More links than the system follows."""
    parts = [link(b"l0", b"..")]
    parts += [link(b"l%d" % n, b"l%d" % (n - 1)) for n in range(1, length)]
    return [*parts, member(b"l%d/victim" % (length - 1), EVIL)]


ATTACKS: dict[str, list[bytes]] = {
    "dots": [member(b"../victim", EVIL)],
    "dots inside": [folder(b"a"), member(b"a/../../victim", EVIL)],
    "dots after a slash": [member(b"/../victim", EVIL)],
    "dots after a dot": [member(b"./../victim", EVIL)],
    "dots at the end": [folder(b"a/../.."), member(b"a/..", EVIL)],
    "folder of dots": [folder(b"..", 0o700)],
    "absolute link": [link(b"l", b"OUTSIDE"), member(b"l/victim", EVIL)],
    "relative link": [link(b"l", b".."), member(b"l/victim", EVIL)],
    "link with a slash": [link(b"l", b"../"), member(b"l//./victim", EVIL)],
    "link to a link": [link(b"a", b".."), link(b"b", b"a"), member(b"b/victim", EVIL)],
    "link through a link": [folder(b"f"), link(b"f/up", b".."), link(b"out", b"f/up/.."), member(b"out/victim", EVIL)],
    "link normalised": [folder(b"f/g"), link(b"f/a", b"g/.."), link(b"b", b"f/a/../.."), member(b"b/victim", EVIL)],
    "link placed later": [link(b"b", b"a/.."), link(b"a", b".."), member(b"b/victim", EVIL), member(b"a/victim", EVIL)],
    "link then the file": [link(b"v", b"../victim"), member(b"v", EVIL)],
    "link, file, link, file": [link(b"v", b"../victim"), member(b"v", EVIL)] * 2,
    "link to an absolute file": [link(b"v", b"OUTSIDE/victim"), member(b"v", EVIL)],
    "link below a file": [member(b"v", b"x"), member(b"v/victim", EVIL)],
    "hard link to a link": [link(b"s", b"../victim"), hard(b"h", b"s"), member(b"h", EVIL)],
    "hard link to dots": [hard(b"h", b"../victim"), member(b"h", EVIL)],
    "hard link to an absolute name": [hard(b"h", b"OUTSIDE/victim"), member(b"h", EVIL)],
    "hard link through a link": [link(b"s", b".."), hard(b"h", b"s/victim"), member(b"h", EVIL)],
    "hard link to a folder": [link(b"s", b".."), hard(b"h", b"s"), member(b"h/victim", EVIL)],
    "folder becomes a link": [folder(b"d"), link(b"d", b".."), member(b"d/victim", EVIL)],
    "folder with contents becomes a link": [member(b"d/x", b"x"), link(b"d", b".."), member(b"d/victim", EVIL)],
    "folder becomes a link at the end": [folder(b"d"), link(b"d", b"..")],
    "link becomes a folder": [link(b"d", b".."), folder(b"d"), member(b"d/victim", EVIL)],
    "other case": [link(b"D", b".."), member(b"d/victim", EVIL), member(b"D/victim", EVIL)],
    "other form of a letter": [link("\u00e9".encode(), b".."), member("e\u0301/victim".encode(), EVIL)],
    "many links": chain(45),
    "longer than PATH_MAX": realpath_gives_up(),
    "a loop": [link(b"a", b"b"), link(b"b", b"a"), member(b"a/victim", EVIL)],
    "pipe then the file": [member(b"p", kind=PIPE), member(b"p", EVIL)],
    "empty name": [member(b"", EVIL), link(b"", b"..")],
    "the folder itself": [member(b".", EVIL), link(b"./", b".."), hard(b"/", b"victim")],
    "windows": [member(b"..\\victim", EVIL), member(b"C:\\victim", EVIL)],
    "existing link": [member(b"old-link/victim", EVIL), folder(b"old-link", 0o700)],
    "existing link as the file": [member(b"old-file", EVIL)],
    "existing link as a folder": [folder(b"old-link", 0o700), member(b"old-link/victim", EVIL)],
    "existing hard link": [member(b"old-hard", EVIL, mode=0o600, mtime=1)],
    "hard link to an existing link": [hard(b"h", b"old-file"), member(b"h", EVIL)],
    "hard link through an existing link": [hard(b"h", b"old-link/victim"), member(b"h", EVIL)],
}


def set_up(tmp_path: Path, parts: list[bytes]) -> tuple[Path, dict[bytes, tuple[object, ...]]]:
    """``out`` with some old entries, in a folder whose state is the result."""
    outside = tmp_path / "outside"
    out = outside / "out"
    out.mkdir(parents=True)
    (outside / "victim").write_text("mine\n")
    os.utime(outside / "victim", (7, 7))
    (out / "old-link").symlink_to("..")
    (out / "old-file").symlink_to("../victim")
    os.link(outside / "victim", out / "old-hard")
    tars.archive(tmp_path / "e.zllm", *parts, member(b"after", b"after"))
    return out, watched(outside)


def watched(outside: Path) -> dict[bytes, tuple[object, ...]]:
    """What must not change: all beside ``out`` (but for the number of links), mode and time of the folder around it,
    and what is beside that.
    """
    state = {name: value[:6] for name, value in tars.state(outside).items() if not name.startswith(b"/out")}
    return {**state, b"beside": tuple(sorted(os.listdir(outside.parent)))}


def absolute(parts: list[bytes], outside: Path) -> list[bytes]:
    """``OUTSIDE`` in targets is the folder to attack."""
    made = []
    for part in parts:
        if b"OUTSIDE" in part:
            at = part.index(b"OUTSIDE")
            target = part[at : part.index(b"\0", at)].replace(b"OUTSIDE", os.fsencode(outside))
            name = part[:100].rstrip(b"\0")
            part = member(name, kind=part[156:157], link=target)  # noqa: PLW2901
        made.append(part)
    return made


@pytest.mark.parametrize(
    "options", [[], ["-k"], ["--filter", "data"], ["--filter", "tar"], ["--filter", "fully_trusted"]]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_command_line(attack: str, options: list[str], tmp_path: Path) -> None:
    parts = absolute(ATTACKS[attack], tmp_path / "outside")
    out, before = set_up(tmp_path, parts)
    code, lines = tars.run(str(tmp_path / "e.zllm"), "-C", str(out), *options)
    assert watched(out.parent) == before
    assert (out / "after").read_bytes() == b"after"
    assert code in (0, 1, 2), lines
    assert not [line for line in lines if "internal error" in line or ".part" in line]
    assert len(lines) <= len(parts) + 1
    assert not [name for name in os.listdir(out) if name.endswith(".part")]


@pytest.mark.parametrize("trust", ["data", "tar", "fully_trusted", None])
@pytest.mark.parametrize("attack", ATTACKS)
def test_python(attack: str, trust: str | None, tmp_path: Path) -> None:
    parts = absolute(ATTACKS[attack], tmp_path / "outside")
    out, before = set_up(tmp_path, parts)
    for errorlevel in (0, 1):
        with zllm.open(tmp_path / "e.zllm", errorlevel=errorlevel) as archive:
            with contextlib.suppress(tarfile.TarError, OSError):
                archive.extractall(out, filter=trust)
            for info in archive.getmembers():
                with contextlib.suppress(tarfile.TarError, OSError):
                    archive.extract(info, out, filter=trust)
        assert watched(out.parent) == before
    assert (out / "after").read_bytes() == b"after"


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_link_leads_out_with_the_data_filter(attack: str, tmp_path: Path) -> None:
    """Not even one that is harmless until others are there."""
    parts = absolute(ATTACKS[attack], tmp_path / "outside")
    tars.archive(tmp_path / "e.zllm", *parts, member(b"after", b"after"))
    for turn, call in enumerate(("run", "extractall")):
        out = tmp_path / f"out{turn}"
        if call == "run":
            tars.run(str(tmp_path / "e.zllm"), "-C", str(out), "--filter", "data")
        else:
            with zllm.open(tmp_path / "e.zllm", errorlevel=0) as archive:
                try:
                    archive.extractall(out)
                except zllm.ZllmError:
                    assert archive.failures
        for path in [*out.rglob("*")]:
            if path.is_symlink():
                assert path.resolve().is_relative_to(out.resolve()), path
        assert (out / "after").exists()


def test_links_of_ones_own_come_back_by_default(tmp_path: Path) -> None:
    """Links are data: the same archives, and nothing is refused that is only a link."""
    tars.archive(
        "a.zllm", link(b"abs", b"/etc/passwd"), link(b"up", b"../../x"), link(b"self", b"self"), link(b"dot", b"."),
        link(b"long", b"y" * 4000), link(b"bytes", b"\xff"), member(b"p", kind=PIPE, mode=0o600),
    )  # fmt: skip
    assert tars.run("a.zllm", "-C", "out") == (0, [])
    assert os.readlink("out/abs") == "/etc/passwd"
    assert os.readlink("out/up") == "../../x"
    assert os.readlink("out/self") == "self"
    assert os.readlink("out/dot") == "."
    assert os.readlink("out/long") == "y" * 4000
    assert os.readlink(b"out/bytes") == b"\xff"
    assert Path("out/p").is_fifo()
    code, lines = tars.run("a.zllm", "-C", "strict", "--filter", "data")
    assert code == 2
    assert sorted(lines) == [
        "zllm: abs: links to absolute names are not extracted: to restore them, leave out --filter data",
        "zllm: long: File name too long",
        "zllm: p: pipes or devices are not extracted: to restore them, leave out --filter data"
        " (devices need --devices)",
        "zllm: up: links that lead out of the folder are not extracted: to restore them, leave out --filter data",
    ]
    assert sorted(os.listdir("strict")) == ["bytes", "dot", "self"]


def test_what_is_refused_is_said_once_for_its_kind(tmp_path: Path) -> None:
    tars.archive("a.zllm", *(link(b"l%d" % n, b"/x") for n in range(300)), member(b"f", b"x", FILE))
    code, lines = tars.run("a.zllm", "-C", "out", "--filter", "data")
    assert code == 2
    what = "links to absolute names are not extracted: to restore them, leave out --filter data"
    assert lines == [f"zllm: 300 members (l0, ...): {what}"]


@pytest.mark.parametrize("swap", [os.symlink, os.link])
def test_the_mode_of_a_pipe_is_not_set_on_what_another_process_puts_in_its_place(
    swap: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "out"
    victim.touch(0o600)
    target.mkdir()

    def make_and_swap(name: bytes, mode: int, *, dir_fd: int) -> None:
        swap(victim, target / os.fsdecode(name))

    archive = tmp_path / "a.zllm"
    tars.archive(archive, member(b"pipe", kind=PIPE, mode=0o666))
    monkeypatch.setattr(os, "mkfifo", make_and_swap)
    with zllm.open(archive) as opened, contextlib.suppress(OSError):
        opened.extractall(target, filter="fully_trusted")
    assert victim.stat().st_mode & 0o777 == 0o600
