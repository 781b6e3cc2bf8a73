"""What ``zllm extract`` does with single members: names, what is in the way, damage, links, attributes that fail."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from extraction import tars
from extraction.tars import FOLDER, HARD, PIPE, SYMBOLIC, member, pax

import zllm as zllm_api

BEFORE, AFTER = member(b"before", b"before"), member(b"after", b"after")


def extract(*parts: bytes, words: tuple[str, ...] = (), out: str = "out") -> tuple[int, list[str]]:
    tars.archive("a.zllm", BEFORE, *parts, AFTER)
    result = tars.run("a.zllm", "-C", out, *words)
    assert Path(out, "before").read_bytes() == b"before"
    assert Path(out, "after").read_bytes() == b"after"
    assert not [name for _, _, names in os.walk(out) for name in names if name.endswith(".part")]
    return result


# Names


def test_absolute_names_are_made_relative(tmp_path: Path) -> None:
    inside = os.fsencode(tmp_path) + b"/x"
    assert extract(member(inside, b"x"), member(b"//y", b"y")) == (
        0, [f"zllm: names are extracted relative: {tmp_path}/x as {str(tmp_path)[1:]}/x"]
    )  # fmt: skip
    assert Path(f"out{tmp_path}/x").read_bytes() == b"x"
    assert Path("out/y").read_bytes() == b"y"
    assert not Path("x").exists()


@pytest.mark.parametrize("name", [b"a//b", b"a/./b", b"./a/b", b"a/b/.", b".//./a///b"])
def test_superfluous_parts_of_names(name: bytes) -> None:
    assert extract(member(name, b"x")) == (0, [])
    assert Path("out/a/b").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (member(b"", b"x"), "no name for anything but a folder"),
        (member(b".", b"x"), "no name for anything but a folder"),
        (member(b"/", kind=SYMBOLIC, link=b"x"), "no name for anything but a folder"),
        (member(b"a/../b", b"x"), "'..'"),
        (pax((b"path", b"a\0b")) + member(b"m", b"x"), "NUL"),
        (member(b"n" * 256, b"x"), "File name too long"),
        (member(b"n" * 256, kind=FOLDER), "File name too long"),
        (member(b"n" * 256 + b"/x", b"x"), "File name too long"),
        (member(b"n" * 256, kind=SYMBOLIC, link=b"x"), "File name too long"),
        (member(b"d/" * 1900 + b"x", b"x"), "1900 folders above it do not exist"),
        (member(b"d/" * 40_000 + b"x", b"x"), "its name has over 65536 bytes"),
        (member(b"l", kind=SYMBOLIC), "a link to an impossible name"),
        (member(b"l", kind=SYMBOLIC, link=b"x" * 5000), "File name too long"),
        (member(b"m", kind=HARD, link=b"m"), "a hard link to itself"),
        (member(b"m", kind=HARD, link=b""), "a hard link to the impossible name"),
        (member(b"m", kind=HARD, link=b"../x"), "a hard link to the impossible name"),
        (member(b"m", kind=HARD, link=b"missing"), "neither on disk nor before it"),
        (member(b"d", kind=FOLDER) + member(b"m", kind=HARD, link=b"d"), "a folder"),
        (member(b"m", kind=b"M", size=0), "continued from another volume"),
    ],
)  # fmt: skip
def test_one_member_that_cannot_be(part: bytes, reason: str) -> None:
    """One clear line; the others are extracted; nothing is left of it."""
    code, lines = extract(part)
    assert (code, len(lines)) == (2, 1), lines
    assert reason in lines[0]
    assert set(os.listdir("out")) - {"d"} == {"before", "after"}


def test_a_folder_without_a_name_is_the_one_extracted_to() -> None:
    os.mkdir("out", 0o755)
    assert extract(member(b"./", kind=FOLDER, mode=0o711, mtime=5)) == (0, [])
    state = os.stat("out")
    assert (stat.S_IMODE(state.st_mode), state.st_mtime) == (0o711, 5)


def test_the_folder_may_be_a_link() -> None:
    os.mkdir("real")
    os.symlink("real", "out")
    assert extract(member(b"d/x", b"x"), member(b"", b"evil"))[0] == 2
    assert os.path.islink("out")
    assert Path("real/d/x").read_bytes() == b"x"


# What is in the way


KINDS: dict[str, Callable[[str], object]] = {
    "file": lambda path: Path(path).write_text("old"),
    "link": lambda path: os.symlink("/nowhere", path),
    "link to a folder": lambda path: os.symlink(".", path),
    "pipe": os.mkfifo,
    "empty folder": os.mkdir,
    "nothing": lambda _: None,
}
MEMBERS = {
    "file": member(b"x", b"new"),
    "link": member(b"x", kind=SYMBOLIC, link=b"before"),
    "hard link": member(b"x", kind=HARD, link=b"before"),
    "pipe": member(b"x", kind=PIPE),
    "folder": member(b"x", kind=FOLDER),
}


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", MEMBERS)
def test_replaced_as_by_tar(old: str, new: str) -> None:
    os.mkdir("out")
    KINDS[old]("out/x")
    assert extract(MEMBERS[new]) == (0, [])
    mode = os.lstat("out/x").st_mode
    if new == "file":
        assert stat.S_ISREG(mode) and Path("out/x").read_bytes() == b"new"
    elif new == "link":
        assert os.readlink("out/x") == "before"
    elif new == "hard link":
        assert os.path.samestat(os.lstat("out/x"), os.lstat("out/before"))
    else:
        assert (stat.S_ISFIFO if new == "pipe" else stat.S_ISDIR)(mode)


@pytest.mark.parametrize("trust", ["data", "tar"])
def test_links_that_lead_out_are_replaced_with_filters_too(trust: str) -> None:
    os.mkdir("out")
    for name in ("x", "d", "e"):
        os.symlink("/nowhere", f"out/{name}")
    parts = (member(b"x", b"new"), member(b"d", kind=FOLDER), member(b"e/x", b"new"), member(b"../y", b"new"))
    code, lines = extract(*parts, words=("--filter", trust))
    assert code == 2
    assert lines == ["zllm: ../y: its name contains '..' and may lead out of the folder: not extracted"]
    assert Path("out/x").read_bytes() == Path("out/e/x").read_bytes() == b"new"
    assert Path("out/d").is_dir() and not Path("out/d").is_symlink()


@pytest.mark.parametrize("new", ["file", "link", "hard link", "pipe"])
def test_a_folder_with_contents_is_never_removed(new: str) -> None:
    os.makedirs("out/x/y")
    code, lines = extract(MEMBERS[new])
    assert (code, lines) == (2, ["zllm: x: a folder that is not empty is in the way"])
    assert os.listdir("out/x") == ["y"]


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", MEMBERS)
def test_what_exists_is_kept_on_demand(old: str, new: str) -> None:
    os.mkdir("out")
    KINDS[old]("out/x")
    before = None if old == "nothing" else os.lstat("out/x")
    code, lines = extract(MEMBERS[new], words=("-k",))
    if before is None:
        assert (code, lines) == (0, [])
    else:
        assert os.path.samestat(before, os.lstat("out/x"))
        kept = [] if new == "folder" and old == "empty folder" else ["zllm: warning: x: exists and was kept"]
        assert (code, lines) == (len(kept), kept)


def test_keeping_looks_only_below_the_folder(tmp_path: Path) -> None:
    Path("x").write_text("old")
    code, _ = extract(member(os.fsencode(tmp_path) + b"/x", b"new"), member(b"d/../x", b"no"), words=("-k",))
    assert code == 2  # for the second
    assert Path(f"out{tmp_path}/x").read_bytes() == b"new"
    os.mkdir("other")
    os.symlink(tmp_path, "other/l")
    code, lines = extract(member(b"l/x", b"new"), words=("-k",), out="other")
    assert (code, lines) == (2, ["zllm: l/x: l is a link: it is kept, and not followed"])
    assert Path("x").read_text() == "old"


def test_the_first_of_a_name_is_kept_on_demand_the_last_one_otherwise() -> None:
    two = (member(b"x", b"1"), member(b"l", kind=SYMBOLIC, link=b"1"), member(b"x", b"2"))
    more = (*two, member(b"l", kind=SYMBOLIC, link=b"2"))
    assert extract(*more) == (0, [])
    assert (Path("out/x").read_text(), os.readlink("out/l")) == ("2", "2")
    assert extract(*more, words=("-k",), out="kept")[0] == 1
    assert (Path("kept/x").read_text(), os.readlink("kept/l")) == ("1", "1")


def test_a_link_goes_only_when_the_file_below_it_is_whole() -> None:
    """Its folder is no member: without the file there is nothing to replace the link with."""
    os.mkdir("out")
    os.symlink("/nowhere", "out/d")
    assert extract(pax((b"GNU.sparse.map", b"5,1"), (b"GNU.sparse.size", b"2")) + member(b"d/x", b"x"))[0] == 2
    assert os.readlink("out/d") == "/nowhere"
    assert extract(member(b"d/x", b"x")) == (0, [])
    assert Path("out/d/x").read_bytes() == b"x"


def test_a_file_is_not_removed_for_what_would_be_below_it() -> None:
    os.mkdir("out")
    Path("out/f").write_text("old")
    assert extract(member(b"f/x", b"x")) == (2, ["zllm: f/x: f is not a folder"])
    assert Path("out/f").read_text() == "old"


def test_a_damaged_member_leaves_the_old_one(tmp_path: Path) -> None:
    noise = os.urandom(100_000)
    tars.archive("a.zllm", BEFORE, member(b"x", noise), member(b"h", kind=HARD, link=b"x"), AFTER)
    data = bytearray(Path("a.zllm").read_bytes())
    place = data.index(noise[500:600])
    data[place] ^= 1
    data[place + 9] ^= 1
    Path("a.zllm").write_bytes(data)
    os.mkdir("out")
    for name in ("x", "h"):
        Path("out", name).write_text("old")
    code, lines = tars.run("a.zllm", "-C", "out")
    assert code == 3
    assert any(line.startswith("zllm: x: ") for line in lines)
    assert "zllm: h: a hard link to x, which could not be extracted" in lines
    assert Path("out/x").read_text() == Path("out/h").read_text() == "old"
    assert not [name for name in os.listdir("out") if name.endswith(".part")]


# Hard links


def test_hard_links_to_what_is_not_extracted_get_the_data() -> None:
    parts = (
        member(b"a/x", b"data", mode=0o640, mtime=9), member(b"a/l", kind=SYMBOLIC, link=b"x"),
        member(b"h1", kind=HARD, link=b"a/x"), member(b"h2", kind=HARD, link=b"./h1"),
        member(b"h3", kind=HARD, link=b"a/x"), member(b"hl", kind=HARD, link=b"a/l"),
    )  # fmt: skip
    tars.archive("a.zllm", *parts)
    os.makedirs("out/a")
    Path("out/a/x").write_text("of another time")
    assert tars.run("a.zllm", "h1", "h2", "h3", "hl", "-C", "out") == (0, [])
    state = os.stat("out/h1")
    assert Path("out/h1").read_bytes() == b"data"
    assert (stat.S_IMODE(state.st_mode), state.st_mtime, state.st_nlink) == (0o640, 9, 3)
    assert os.readlink("out/hl") == "x"
    assert Path("out/a/x").read_text() == "of another time"


def test_hard_links_in_a_pipe_cannot_go_back(tmp_path: Path) -> None:
    large = os.urandom(1 << 20) * 70  # more than a section
    tars.archive("a.zllm", member(b"x", b"data"), member(b"l", large), member(b"h", kind=HARD, link=b"x"), AFTER)
    command = [sys.executable, "-m", "zllm", "extract", "-", "-C", "out", "h", "after"]
    with subprocess.Popen(["cat", "a.zllm"], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(command, stdin=cat.stdout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == ("zllm: h: a hard link to x, whose data has passed: extract that, too, or use a file\n")
    assert os.listdir("out") == ["after"]


def test_a_hard_link_that_exists_already_is_left() -> None:
    for _ in range(2):
        assert extract(member(b"x", b"x"), member(b"h", kind=HARD, link=b"x")) == (0, [])
        assert os.stat("out/x").st_nlink == 2
    assert sorted(os.listdir("out")) == ["after", "before", "h", "x"]


# Attributes


@pytest.mark.parametrize("mode", [0o700, 0o500, 0o000, 0o1777, 0o755])
def test_modes_of_folders_are_exact(mode: int) -> None:
    inside = member(b"d/e", kind=FOLDER, mode=mode) + member(b"d/e/x", b"x")
    for _ in range(2):
        assert extract(member(b"d", kind=FOLDER, mode=mode, mtime=3), inside, words=("-p",)) == (0, [])
        state = os.stat("out/d")
        assert (stat.S_IMODE(state.st_mode), state.st_mtime) == (mode, 3)
        os.chmod("out/d", 0o700)
        assert stat.S_IMODE(os.stat("out/d/e").st_mode) == mode
        os.chmod("out/d/e", 0o700)
        assert Path("out/d/e/x").read_bytes() == b"x"


def test_folders_inherit_the_group_bit() -> None:
    os.mkdir("out")
    os.chmod("out", 0o2775)
    part = member(b"d", kind=FOLDER, mode=0o750)
    for words in (("--no-same-permissions",), ("--filter", "data")):
        assert extract(part, member(b"e/f", b"x"), words=words) == (0, [])
        assert os.stat("out/d").st_mode & os.stat("out/e").st_mode & stat.S_ISGID
        os.rmdir("out/d")
    assert extract(part, words=("-p",)) == (0, [])
    assert stat.S_IMODE(os.stat("out/d").st_mode) == 0o750


def test_a_file_is_never_readable_by_more_people_than_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    original = os.rename

    def rename(source: bytes, target: bytes, **folders: int) -> None:
        seen.append((stat.S_IMODE(os.stat(source).st_mode), os.stat(source).st_size))
        original(source, target, **folders)

    created: list[int] = []
    opened = os.open

    def spy(path: bytes, flags: int, mode: int = 0o777, **folder: int) -> int:
        if flags & os.O_CREAT:
            created.append(mode)
        return opened(path, flags, mode, **folder)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "open", spy)
    before = os.umask(0)
    try:
        assert extract(member(b"key", b"secret", mode=0o600), member(b"d/all", b"all", mode=0o666)) == (0, [])
    finally:
        os.umask(before)
    assert set(created) == {0o600}
    assert (0o600, 6) in seen and (0o666, 3) in seen


@pytest.mark.parametrize(
    ("call", "what"), [("fchmod", "mode"), ("fchown", "owner"), ("utime", "time"), ("chmod", "mode")]
)
def test_what_cannot_be_set_is_said_once(call: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    tars.archive("a.zllm", *(member(b"f%d" % n, b"x") for n in range(20)), member(b"p", kind=PIPE))
    monkeypatch.setattr(os, call, refuse)
    if call == "chmod":  # only for what cannot be opened
        expected = ["zllm: warning: p: mode could not be set: Operation not permitted"]
    else:
        count = "21" if call == "utime" else "20"
        expected = [f"zllm: warning: {count} members (f0, ...): {what} could not be set: Operation not permitted"]
    assert tars.run("a.zllm", "-C", "out", "--same-owner") == (1, expected)
    assert len(os.listdir("out")) == 21


def test_no_special_bits_where_the_owner_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    tars.archive("a.zllm", member(b"f", b"x", mode=0o6755))
    monkeypatch.setattr(os, "fchown", refuse)
    assert tars.run("a.zllm", "-C", "out", "--same-owner", "-p")[0] == 1
    assert stat.S_IMODE(os.stat("out/f").st_mode) == 0o755


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1700000000.999999999", 1_700_000_000_999_999_999), (b"1700000000.123456789", 1_700_000_000_123_456_789),
        (b"-1.5", -1_500_000_000), (b"-0.000000001", -1), (b"5", 5_000_000_000), (b"7.", 7_000_000_000),
        (b"1700000000.9999999999999", 1_700_000_000_999_999_999), (b"-1.0000000001", -1_000_000_001),
        (b"4102444800.000000001", 4_102_444_800_000_000_001),
    ],
)  # fmt: skip
def test_times_are_exact(text: bytes, nanoseconds: int) -> None:
    for part in (member(b"x", b"x"), member(b"x", kind=FOLDER), member(b"x", kind=SYMBOLIC, link=b"y"),
                 member(b"x", kind=PIPE)):  # fmt: skip
        assert extract(pax((b"mtime", text)) + part) == (0, [])
        assert os.lstat("out/x").st_mtime_ns == nanoseconds
        (os.rmdir if os.path.isdir("out/x") else os.unlink)("out/x")


@pytest.mark.parametrize("text", [b"1e300", b"inf", b"nan", b"99999999999999999999"])
def test_impossible_times_are_said(text: bytes) -> None:
    code, lines = extract(pax((b"mtime", text)) + member(b"x", b"x"), member(b"y", b"y", mtime=1 << 70))
    assert code == 1
    assert Path("out/x").read_bytes() == b"x"
    assert all("time could not be set" in line for line in lines)
    assert 1 <= len(lines) <= 2


def test_odd_modes_and_owners_end_nothing() -> None:
    odd = member(b"x", b"x", mode=(1 << 50) | 0o644, uid=1 << 40, gid=(1 << 55) + 1)
    code, lines = extract(odd, member(b"d", kind=b"3", device=(1 << 40, 1 << 50)), words=("--same-owner", "--devices"))
    assert Path("out/x").read_bytes() == b"x"
    assert stat.S_IMODE(os.stat("out/x").st_mode) == 0o644
    assert code == 2  # for the device
    assert len(lines) == 2


def test_owners_by_name_or_number() -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    part = member(b"f", b"x", uid=12345, gid=23456, uname=b"daemon", gname=b"no-such-group")
    assert extract(part) == (0, [])
    assert (os.stat("out/f").st_uid, os.stat("out/f").st_gid) == (1, 23456)
    assert extract(part, words=("--numeric-owner",)) == (0, [])
    assert (os.stat("out/f").st_uid, os.stat("out/f").st_gid) == (12345, 23456)
    assert extract(part, words=("--no-same-owner",)) == (0, [])
    assert (os.stat("out/f").st_uid, os.stat("out/f").st_gid) == (0, os.getegid())


def test_an_old_file_keeps_its_permissions_to_itself() -> None:
    """A file is a new one: neither mode nor other links of the one before it matter."""
    os.mkdir("out")
    Path("out/x").write_text("old")
    os.link("out/x", "other")
    os.chmod("out/x", 0o777)
    assert extract(member(b"x", b"new", mode=0o600)) == (0, [])
    assert (Path("out/x").read_text(), Path("other").read_text()) == ("new", "old")
    assert stat.S_IMODE(os.stat("out/x").st_mode) == 0o600


# Types and holes


def test_types_of_gnu_tar() -> None:
    label = member(b"LABEL", kind=b"V")
    dumped = member(b"dumped", b"Yfile\0\0", kind=b"D", mode=0o755)
    code, lines = extract(label, dumped, member(b"odd", b"data", kind=b"Z"), member(b"dumped/x", b"x"))
    assert code == 1
    assert lines == ["zllm: warning: odd: unknown type b'Z': extracted as a regular file"]
    assert Path("out/odd").read_bytes() == b"data"
    assert sorted(os.listdir("out")) == ["after", "before", "dumped", "odd"]
    assert Path("out/dumped/x").read_bytes() == b"x"


def test_zeros_become_holes() -> None:
    head, tail = b"head", os.urandom(70_000)
    data = head + bytes((3 << 20) - 4) + tail + bytes(1 << 20)
    assert extract(member(b"x", data), member(b"zeros", bytes(2 << 20)), member(b"short", bytes(9))) == (0, [])
    assert Path("out/x").read_bytes() == data
    assert os.stat("out/x").st_blocks * 512 < 400_000
    assert Path("out/zeros").read_bytes() == bytes(2 << 20)
    assert os.stat("out/zeros").st_blocks == 0
    assert Path("out/short").read_bytes() == bytes(9)


@pytest.mark.parametrize("size", [1 << 62, (1 << 63) - 1])
def test_a_hole_larger_than_any_file_is_no_work(size: int) -> None:
    part = pax((b"GNU.sparse.map", b"0,2"), (b"GNU.sparse.size", b"%d" % size)) + member(b"x", b"ab")
    began = time.process_time()
    code, lines = extract(part)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("zllm: x: ")
    assert time.process_time() - began < 5
    assert sorted(os.listdir("out")) == ["after", "before"]


@pytest.mark.parametrize("holes", [b"0,-1", b"-1,1", b"5,2,3,2", b"0,2,1,2", b"9,2", b"0,9", b"0,600", b"0,4,4,4"])
def test_impossible_maps_of_holes(holes: bytes) -> None:
    """Below zero, out of order, overlapping, behind the end, or with more data than the member has."""
    size = b"1000" if holes in (b"0,9", b"0,600") else b"10"
    code, lines = extract(pax((b"GNU.sparse.map", holes), (b"GNU.sparse.size", size)) + member(b"x", b"12"))
    assert code == 2
    assert len(lines) == 1 and lines[0].startswith("zllm: a.zllm: x: ")
    assert sorted(os.listdir("out")) == ["after", "before"]


# Ends


def test_a_full_disk_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tars.archive("a.zllm", member(b"empty"), member(b"x", b"x"), AFTER)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as caught:
        tars.run("a.zllm", "-C", "out")
    assert caught.value.filename == "x"
    assert os.listdir("out") == ["empty"]


def test_a_file_that_cannot_be_written_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.pwrite

    def broken(descriptor: int, data: bytes, offset: int) -> int:
        if bytes(data) == b"x":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", broken)
    assert extract(member(b"x", b"x")) == (2, ["zllm: x: Input/output error"])
    assert sorted(os.listdir("out")) == ["after", "before"]


def test_a_signal_leaves_nothing_unfinished(tmp_path: Path) -> None:
    """Also where the main thread cannot tidy up: inside a system call or a codec."""
    code = (
        "import os, sys, time\n"
        "from zllm.cli import extract, main, output\n"
        "from zllm.extraction import sparse\n"
        "def stuck(*_):\n"
        "    print('ready', flush=True)\n"
        "    import ctypes\n"
        "    [ctypes.PyDLL(None).usleep(900000) for _ in range(60)]\n"  # the interpreter lock is held
        "sparse.write = stuck if sys.argv[1] == 'held' else lambda *_: (print('ready', flush=True), time.sleep(60))\n"
        "main.main(['extract', 'a.zllm', '-C', 'out'])\n"
    )
    tars.archive("a.zllm", member(b"x", b"x"))
    for how in ("free", "held"):
        command = [sys.executable, "-c", code, how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_hear) as process:  # noqa: PLW1509
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            assert len(os.listdir("out")) == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == -signal.SIGTERM
        assert os.listdir("out") == []


def _hear() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("words", [("--same-owner",), ("--devices",)])
def test_options_that_contradict_the_filter(words: tuple[str, ...]) -> None:
    tars.archive("a.zllm", BEFORE)
    with pytest.raises(zllm_api.UsageError, match="contradict each other"):
        tars.run("a.zllm", "-C", "out", "--filter", "data", *words)


def test_options_by_filter() -> None:
    parts = (member(b"/f", b"x", mode=0o6777), member(b"d", kind=FOLDER, mode=0o777), member(b"p", kind=PIPE))
    tars.archive("a.zllm", *parts)
    modes = {}
    for trust in ("data", "tar", "fully_trusted"):
        before = os.umask(0o022)
        try:
            tars.run("a.zllm", "-C", trust, "--filter", trust, "-q")
        finally:
            os.umask(before)
        modes[trust] = [oct(stat.S_IMODE(os.stat(f"{trust}/{name}").st_mode)) for name in ("f", "d")]
    assert modes == {
        "data": ["0o755", "0o755"], "tar": ["0o755", "0o755"], "fully_trusted": ["0o6777", "0o777"],
    }  # fmt: skip
    assert [Path(trust, "p").exists() for trust in modes] == [False, True, True]
