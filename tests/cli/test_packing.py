"""What ``create`` stores is what GNU tar would store: every attribute of everything that a tree can hold."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm as zllm_api
from zllm.cli import create
from zllm.cli.output import Console

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

as_root = os.geteuid() == 0
needs_gnu_tar = pytest.mark.skipif(
    shutil.which("tar") is None
    or b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, check=False).stdout,
    reason="GNU tar is needed",
)


def home(top: Path) -> None:
    """A tree like a home folder, and like /etc where only root can make it so."""
    for name in ("docs/a.txt", "docs/b.txt", ".config/app/x.ini", "private/key", "deep/" + "d/" * 60 + "end"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"This is {name[-20:]}.\n" * 20)
    (top / "private").chmod(0o700)
    (top / "private" / "key").chmod(0o400)
    (top / "empty").mkdir()
    for name, target in {
        "rel": "docs/a.txt", "abs": "/etc/hostname", "out": "../../elsewhere", "broken": "nowhere",
        "long": "x/" * 120 + "y", "dir": "docs", "self": "self",
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    os.link(top / "docs" / "a.txt", top / "docs" / "hard")
    os.link(top / "docs" / "a.txt", top / "a-hard")
    os.link(top / "rel", top / "rel-hard", follow_symlinks=False)
    os.mkfifo(top / "pipe", 0o620)
    os.link(top / "pipe", top / "pipe2")
    for number in (0o000, 0o444, 0o755, 0o666, 0o4755, 0o2755, 0o1644):
        (top / f"mode{number:o}").touch()
        (top / f"mode{number:o}").chmod(number)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    names = [
        b"new\nline",
        b"\xff\xfe",
        "ü".encode(),
        "\u65e5\u672c".encode(),
        b" blank ",
        b"-rf",
        b"q" * 255,
        b"\\n",
        b"*?[",
    ]
    for name in names:
        (top / os.fsdecode(name)).write_bytes(name)
    for name, seconds in {"old": -1.5, "zero": 0, "late": 8**11 + 5, "nano": 1_700_000_000.5}.items():
        (top / name).touch()
        os.utime(top / name, (0, seconds))
    os.utime(top / "nano", ns=(0, 1_700_000_000_999_999_999))
    with open(top / "sparse", "wb") as file:
        file.write(b"head")
        file.truncate(3 << 20)
        file.seek(2 << 20)
        file.write(b"middle")
    (top / "big").write_bytes(os.urandom(100_000))
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(top)
        listener.bind("socket")
        os.chdir(before)
    if as_root:
        os.mknod(top / "device", 0o660 | 0o020000, os.makedev(1, 3))
        os.mknod(top / "block", 0o660 | 0o060000, os.makedev(7, 300))
        for name, owner in {"big": (65534, 65534), "late": (3_000_000, 2_500_000), "empty": (1, 2)}.items():
            os.chown(top / name, *owner)


def listing(archive: Path, folder: Path) -> list[str]:
    command = ["tar", "--full-time", "--quoting-style=escape", "-tvf", str(archive)]
    result = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    assert b"Ignoring" not in result.stderr and result.returncode == 0, result.stderr
    text = result.stdout.decode("utf-8", "surrogateescape")
    return sorted(re.sub(" +", " ", line) for line in text.splitlines())  # columns get wider on the way


def without_link_direction(lines: list[str]) -> tuple[list[str], list[str]]:
    """Which of several names is packed as the file and which as links to it depends on the order of folders."""
    hard = ("docs/a.txt", "docs/hard", "a-hard", "/rel", "rel-hard")
    linked = [line for line in lines if line.split(" link to ")[0].split(" -> ")[0].endswith(hard)]
    return [line for line in lines if line not in linked], [line[1:10] for line in linked]


def test_a_list_of_names_is_one_of_operands(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "file").write_text("text")
    (tmp_path / "t" / "to").symlink_to("file")
    (tmp_path / "t" / "gone").symlink_to("no -> where")
    os.link(tmp_path / "t" / "file", tmp_path / "t" / "hard")
    zllm("create", "-2", "a.zllm", "t")
    names = zllm("list", "a.zllm").stdout.decode().splitlines()
    assert names == ["t/", "t/file", "t/gone", "t/hard", "t/to"]
    zllm("extract", "a.zllm", "-C", "out", *names[1:])
    assert sorted(os.listdir(tmp_path / "out" / "t")) == ["file", "gone", "hard", "to"]
    table = zllm("list", "-v", "a.zllm").stdout
    assert b"t/gone -> no -> where\n" in table and b"t/hard link to t/file\n" in table


@needs_gnu_tar
def test_the_same_tree_as_by_gnu_tar(zllm: Run, tmp_path: Path) -> None:
    home(tmp_path / "home")
    made = zllm("create", "a.zllm", "home", "--level", "3", code=0 if as_root else None)
    assert made.stderr.splitlines()[-1:] == [b"zllm: home/socket: socket ignored"]
    (tmp_path / "a.tar").write_bytes(zllm("cat", "a.zllm", "--tar").stdout)
    subprocess.run(["tar", "--format=pax", "-Scf", "b.tar", "home"], cwd=tmp_path, capture_output=True, check=False)
    ours, ours_linked = without_link_direction(listing(tmp_path / "a.tar", tmp_path))
    theirs, theirs_linked = without_link_direction(listing(tmp_path / "b.tar", tmp_path))
    assert ours == theirs and len(ours) > 90
    assert sorted(ours_linked) == sorted(theirs_linked)
    assert (tmp_path / "a.zllm").stat().st_size < 150_000


@needs_gnu_tar
def test_gnu_tar_restores_what_it_would_have_packed(zllm: Run, tmp_path: Path) -> None:
    """Contents, links between names, holes and nanoseconds, by ``zllm cat --tar | tar -x``."""
    home(tmp_path / "home")
    zllm("create", "a.zllm", "home", "--level", "3", code=None)
    (tmp_path / "a.tar").write_bytes(zllm("cat", "a.zllm", "--tar").stdout)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xpf", "../a.tar"], cwd=tmp_path / "out", capture_output=True, check=True)
    before, after = tmp_path / "home", tmp_path / "out" / "home"
    names = sorted(path.relative_to(before) for path in before.rglob("*") if path.name != "socket")
    assert names == sorted(path.relative_to(after) for path in after.rglob("*")) or not as_root
    for name in names:
        one = (before / name).lstat()
        if not os.path.lexists(after / name):
            assert not as_root and not os.access(before / name, os.R_OK)
            continue
        two = (after / name).lstat()
        assert (one.st_mode, one.st_mtime_ns, one.st_size) == (two.st_mode, two.st_mtime_ns, two.st_size), name
        assert one.st_nlink == two.st_nlink or name.name.startswith("pipe")
        if as_root:
            assert (one.st_uid, one.st_gid, one.st_rdev) == (two.st_uid, two.st_gid, two.st_rdev), name
        if (before / name).is_file() and not (before / name).is_symlink():
            assert (before / name).read_bytes() == (after / name).read_bytes()
    assert (after / "sparse").stat().st_blocks * 512 <= 64 << 10


@pytest.mark.skipif(not as_root or shutil.which("setpriv") is None, reason="root becomes another user by setpriv")
def test_as_another_user(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> None:
    """What it may not read is named and left out; the rest is packed."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home(folder / "home")
        for path in (folder, folder / "home", *(folder / "home").rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        (folder / "home" / "docs" / "b.txt").chmod(0o600)
        os.chown(folder / "home" / "docs" / "b.txt", 0, 0)
        (folder / "home" / "closed").mkdir(mode=0o700)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = [*user, sys.executable, "-m", "zllm", "create", "a.zllm", "home", "--level", "2"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if (
            "No module named" in done.stderr
            or "Permission denied: '/" in done.stderr
            or "failed to execute" in done.stderr
        ):
            pytest.skip("the package is closed to others")
        assert done.returncode == 1
        assert sorted(line.split("zllm: ")[1] for line in done.stderr.splitlines()) == [
            "home/socket: socket ignored",
            "warning: home/closed: Permission denied: its contents are skipped",
            "warning: home/docs/b.txt: Permission denied: skipped",
            "warning: home/mode0: Permission denied: skipped",
        ]
        with zllm_api.open(folder / "a.zllm") as archive:
            assert "home/closed" in archive.getnames() and "home/docs/a.txt" in archive.getnames()


def test_names_are_bytes_in_every_locale(zllm: Run, tmp_path: Path) -> None:
    names = [b"a", "e\u0301".encode(), "é".encode(), b"\xe9", b"\xff\xfe", "\u65e5".encode(), b"x" * 200 + b"\xe9"]
    (tmp_path / "n").mkdir()
    for name in names:
        (tmp_path / os.fsdecode(b"n/" + name)).write_bytes(name)
        os.utime(tmp_path / os.fsdecode(b"n/" + name), (0, 0))
    (tmp_path / os.fsdecode(b"n/link\xe9")).symlink_to(os.fsdecode(b"to\xe9"))
    os.utime(tmp_path / os.fsdecode(b"n/link\xe9"), (0, 0), follow_symlinks=False)
    os.utime(tmp_path / "n", (0, 0))
    archives = []
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for number, locale in enumerate(({"PYTHONUTF8": "1"}, ascii_only, {"LC_ALL": "C.UTF-8"}, LATIN1)):
        environment = {**os.environ, **locale}
        zllm("create", f"{number}.zllm", "n", "-2", env=environment)
        archives.append((tmp_path / f"{number}.zllm").read_bytes())
        listed = zllm("list", "--null", f"{number}.zllm", b"n/\xe9", "n/é".encode(), env=environment)
        assert sorted(listed.stdout.split(b"\0")[:-1]) == [b"n/\xc3\xa9", b"n/\xe9"]
        left = zllm("create", "-", "n", "-2", b"--exclude=*\xe9", env=environment)
        listed = zllm("list", "--null", "-", data=left.stdout, env={**os.environ, "PYTHONUTF8": "1"})
        assert b"n/\xc3\xa9\0" in listed.stdout and b"n/\xe9\0" not in listed.stdout
    assert len(set(archives)) == 1
    (tmp_path / "a.tar").write_bytes(zllm("cat", "0.zllm", "--tar").stdout)
    with tarfile.open(tmp_path / "a.tar", encoding="utf-8") as archive:
        found = {member.name.encode("utf-8", "surrogateescape") for member in archive}
        assert {b"n/" + name for name in names} < found
        assert archive.getmember("n/link\udce9").linkname == "to\udce9"


def _latin1() -> dict[str, str]:
    found = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    names = [name for name in found if name.lower().endswith(("iso88591", "iso885915"))]
    return {"LC_ALL": names[0], "PYTHONUTF8": "0"} if names else {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}


LATIN1 = _latin1()


def test_holes_are_neither_read_nor_stored(zllm: Run, tmp_path: Path) -> None:
    with open(tmp_path / "s", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"middle")
    if (tmp_path / "s").stat().st_blocks > 1000:
        pytest.skip("this file system has no sparse files")
    began = time.process_time()
    for command in ("create", "list"):
        zllm(command, "a.zllm", *(["s"] if command == "create" else []))
    assert time.process_time() - began < 60
    assert (tmp_path / "a.zllm").stat().st_size < 2000
    tar = zllm("cat", "a.zllm", "--tar").stdout
    assert len(tar) <= 20480
    (tmp_path / "a.tar").write_bytes(tar)
    with tarfile.open(tmp_path / "a.tar") as archive:
        member = archive.getmember("s")
        assert member.size == 1 << 40
        assert member.sparse[0][0] <= 1 << 39 < sum(member.sparse[0])
        stream = archive.extractfile(member)
        assert stream is not None
        stream.seek((1 << 39) - 2)
        assert stream.read(10) == b"\0\0middle\0\0"


def test_whole_seconds_cost_no_header(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f")
    for nanoseconds, size in ((1_700_000_000_000_000_000, 10240), (1_700_000_000_000_000_001, 10240)):
        os.utime(tmp_path / "f", ns=(0, nanoseconds))
        tar = zllm("create", "-", "f").stdout
        stream = zllm("cat", "-", "--tar", data=tar).stdout
        assert len(stream) == size and (b"PaxHeader" in stream) == (nanoseconds % 10**9 > 0)


def packing(*words: str, when: Callable[[str], None]) -> tuple[int, list[str]]:
    """Exit code and messages of ``create``, which calls ``when`` with the name of each member before its data."""
    console = Console()
    said: list[str] = []
    console.print = said.append
    original = zllm_api.ZllmFile.addfile

    def addfile(self: zllm_api.ZllmFile, tarinfo: tarfile.TarInfo, fileobj: object = None) -> None:
        when(tarinfo.name)
        original(self, tarinfo, fileobj)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zllm_api.ZllmFile, "addfile", addfile)
        create.run(["-q", "-2", "a.zllm", *words], console)
    return console.status, said


def test_files_that_change_while_the_tree_is_packed(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / "t" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "t" / name).write_bytes(name.encode() * 5000)
    (tmp_path / "t" / "link").symlink_to("a")

    def change(name: str) -> None:
        if name == "t/a":
            (tmp_path / "t" / "d").unlink()
        elif name == "t/b":
            os.truncate(tmp_path / "t" / "b", 100)
        elif name == "t/c":
            with open(tmp_path / "t" / "c", "ab") as file:
                file.write(b"more")
        elif name == "t/e":
            (tmp_path / "t" / "f").unlink()
            os.mkfifo(tmp_path / "t" / "f")
        elif name == "t/g":
            (tmp_path / "t" / "link").unlink()

    assert packing("t", when=change) == (
        1,
        [
            "zllm: warning: t/b: it shrank while it was read: 4900 bytes are stored as zeros",
            "zllm: warning: t/c: it changed while it was read",
            "zllm: warning: t/d: No such file or directory: skipped",
            "zllm: warning: t/link: No such file or directory: skipped",
        ],
    )
    with zllm_api.open("a.zllm") as archive:
        assert archive.getnames() == ["t", "t/a", "t/b", "t/c", "t/e", "t/f", "t/g"]
        assert archive.getmember("t/b").size == 5000 and archive.getmember("t/c").size == 5000
        stream = archive.extractfile("t/g")
        assert stream is not None and stream.read() == b"g" * 5000


def test_a_sparse_file_that_shrinks(tmp_path: Path) -> None:
    with open(tmp_path / "s", "wb") as file:
        for place in range(3):
            file.seek(place << 20)
            file.write(b"data" * 1024)
        file.truncate(4 << 20)
    code, said = packing("s", when=lambda name: os.truncate(tmp_path / "s", (1 << 20) + 100))
    assert code == 1 and len(said) == 1 and "it shrank while it was read: 8092 bytes" in said[0]
    with zllm_api.open("a.zllm") as archive:
        assert archive.getmember("s").size == 4 << 20


def test_hard_links_point_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first name could not be read: then the second is the file."""
    original = os.open

    def open_(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if path == "a":
            raise PermissionError(13, "Permission denied", path)
        return original(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a").write_text("content")
    os.link(tmp_path / "t" / "a", tmp_path / "t" / "b")
    os.link(tmp_path / "t" / "a", tmp_path / "t" / "c")
    code, said = packing("t", when=lambda name: None)
    assert (code, said) == (1, ["zllm: warning: t/a: Permission denied: skipped"])
    with zllm_api.open("a.zllm") as archive:
        assert [(member.name, member.linkname) for member in archive] == [("t", ""), ("t/b", ""), ("t/c", "t/b")]


def test_only_itself(zllm: Run, tmp_path: Path, tree: Path) -> None:
    zllm("create", "a.zllm", "tree")
    before = (tmp_path / "a.zllm").read_bytes()
    result = zllm("create", "a.zllm", "a.zllm", "--force", code=2)
    assert result.stderr.endswith(b"zllm: there is nothing to pack but the archive itself\n")
    assert (tmp_path / "a.zllm").read_bytes() == before
    result = zllm("create", "a.zllm", "a.zllm", "tree", "--force", code=1)
    assert result.stderr == b"zllm: warning: a.zllm: it is the archive itself: skipped\n"
    assert b"a.zllm" not in zllm("list", "a.zllm").stdout
    result = zllm("create", "b.zllm", "gone", "lost", code=2)
    assert result.stderr.endswith(b"zllm: none of the named files exists: no archive was made\n")
    assert not (tmp_path / "b.zllm").exists()


@needs_gnu_tar
@pytest.mark.parametrize("kind", ["oldgnu", "gnu", "posix"])
def test_incremental_archives_of_gnu_tar(kind: str, zllm: Run, tmp_path: Path) -> None:
    """In GNU's formats times are where others have the first part of a name, and folders have their own type."""
    long = "long" * 40
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "file").write_text("text")
    (tmp_path / "in" / "sub" / long).write_text("more")
    os.link(tmp_path / "in" / "sub" / "file", tmp_path / "in" / "hard")
    tar = ["tar", f"--format={kind}", "--listed-incremental=state", "-cf", "in.tar", "in"]
    subprocess.run(tar, check=True, cwd=tmp_path, capture_output=True)
    (tmp_path / "in.zllm").write_bytes(zllm("-2", data=(tmp_path / "in.tar").read_bytes()).stdout)
    names = {"in/", "in/hard", "in/sub/", "in/sub/file", f"in/sub/{long}"}
    assert set(zllm("list", "in.zllm").stdout.decode().splitlines()) == names
    table = zllm("list", "-v", "in.zllm").stdout.decode().splitlines()
    assert [line.split()[7] for line in table if line.startswith("d")] == ["in/", "in/sub/"]
    assert zllm("test", "in.zllm").stderr == zllm("extract", "in.zllm", "-C", "out").stderr == b""
    out = tmp_path / "out" / "in"
    assert sorted(os.listdir(out)) == ["hard", "sub"] and sorted(os.listdir(out / "sub")) == ["file", long]
    assert (out / "hard").read_text() == "text" and (out / "sub" / long).read_text() == "more"
    assert zllm("cat", "in.zllm", "--tar").stdout == (tmp_path / "in.tar").read_bytes()
    with zllm_api.open(tmp_path / "in.zllm") as archive:
        assert {member.name + "/" * member.isdir() for member in archive} == names


def test_attributes_that_are_not_packed_are_said_once(tmp_path: Path, zllm: Run) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    try:
        for name in ("b", "c"):
            os.setxattr(tmp_path / name, "user.note", b"hello")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    said = zllm("create", "a.zllm", "--level", "2", "a", "b", "c").stderr.decode()
    assert said.count("\n") == 1 and "b: extended attributes" in said and "--xattrs" in said
    assert zllm("create", "-q", "b.zllm", "--level", "2", "b").stderr == b""
    assert zllm("create", "c.zllm", "--level", "2", "a").stderr == b""
