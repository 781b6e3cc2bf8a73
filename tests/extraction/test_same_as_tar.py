"""What comes out is what GNU tar makes of the same archive: every attribute of all kinds of entries, for all users."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from extraction import tars

OTHER = 65534
ROOT = os.geteuid() == 0
pytestmark = pytest.mark.skipif(shutil.which("tar") is None, reason="no tar here")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach."""
    folder = Path(tempfile.mkdtemp(prefix="zllm-extraction-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwx", folder], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", folder], check=False)


def put(path: bytes, data: bytes = b"data", mode: int = 0o644, time: int = 1_700_000_000_123_456_789) -> None:
    Path(os.fsdecode(path)).write_bytes(data)
    os.chmod(path, mode)
    os.utime(path, ns=(time, time))


def plant(top: bytes) -> None:
    """All kinds of entries, odd names, modes and times."""
    os.mkdir(top)
    for name in (b"not \xff utf-8", "ünï".encode(), b"new\nline", b"-rf", b"back\\slash", b" ", b"x" * 255, b"*?["):
        put(top + b"/" + name, name)
    put(top + b"/empty", b"")
    for mode in (0, 0o444, 0o777, 0o4755, 0o2711, 0o1644):
        put(top + b"/mode %o" % mode, b"%o" % mode, mode)
    for time in (-1_500_000_000, 1_700_000_000_999_999_999, 0, 2**33 * 10**9 + 1):
        put(top + b"/time %d" % time, time=time)
    put(top + b"/plain")
    for folder, mode in ((b"private", 0o700), (b"read-only", 0o555), (b"sticky", 0o1777), (b"group", 0o2775)):
        os.mkdir(top + b"/" + folder)
        os.mkdir(top + b"/" + folder + b"/sub")
        put(top + b"/" + folder + b"/inside", mode=0o600)
        put(top + b"/" + folder + b"/sub/inside")
        os.chmod(top + b"/" + folder + b"/sub", mode)
        os.chmod(top + b"/" + folder, mode)
    links = (b"plain", b"/etc/passwd", b"../../up", b"nowhere", b".", b"private", b"\xff\xfe", b"y" * 3000, b"link 8")
    for number, target in enumerate(links):
        os.symlink(target, top + b"/link %d" % number)
    os.link(top + b"/plain", top + b"/private/hard")
    os.link(top + b"/link 0", top + b"/hard link to a link", follow_symlinks=False)
    os.mkfifo(top + b"/pipe")
    os.chmod(top + b"/pipe", 0o640)
    os.link(top + b"/pipe", top + b"/hard link to a pipe")
    for name, parts in ((b"/sparse", ((1 << 20, b"mid"), (3 << 20, b"x" * 5000))), (b"/hole", ())):
        with open(top + name, "wb") as file:
            file.truncate(4 << 20)
            for offset, data in parts:
                file.seek(offset)
                file.write(data)
    for path in (b"/link 0", b"/private/sub", b"/private", b"/read-only", b""):
        os.utime(top + path, ns=(10**18, 1_600_000_000_987_654_321), follow_symlinks=False)


def as_other() -> list[str]:
    """A command prefix that changes the user; skips the test where it cannot be, or cannot run this Python."""
    words = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    if not ROOT or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    command = [*words, sys.executable, "-c", "import zllm"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("another user cannot run this Python")
    return words


def both(place: Path, user: list[str], options: list[str]) -> tuple[int, bytes]:
    """Extract the archive in ``place`` by both programs."""
    for name in ("theirs", "ours"):
        (place / name).mkdir()
        if user:
            os.chown(place / name, OTHER, OTHER)
    own = [word for word in options if word != "--devices"]
    tars.archive(place / "a.zllm", (place / "a.tar").read_bytes(), end=b"")
    for name in ("a.tar", "a.zllm"):
        (place / name).chmod(0o644)
    theirs = [*user, "tar", "-C", place / "theirs", "-xf", place / "a.tar", *own]
    subprocess.run(theirs, check=False, capture_output=True)
    command = [*user, sys.executable, "-m", "zllm", "extract", "a.zllm", "-C", "ours", *options]
    done = subprocess.run(command, cwd=place, check=False, capture_output=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("kind", "who", "options", "umask"),
    [
        ("posix", "me", [], 0o022), ("gnu", "me", [], 0o077), ("posix", "me", ["--no-same-permissions"], 0o027),
        ("posix", "me", ["--no-same-owner"], 0o022), ("posix", "me", ["--numeric-owner", "-p"], 0o022),
        ("posix", "other", [], 0o022), ("gnu", "other", [], 0o077), ("posix", "other", ["-p"], 0o027),
        ("posix", "other", ["--same-owner"], 0o022),
    ],
)  # fmt: skip
def test_same_tree(place: Path, kind: str, who: str, options: list[str], umask: int) -> None:
    user = as_other() if who == "other" else []
    plant(os.fsencode(place) + b"/tree")
    if ROOT:
        for name, number in ((b"plain", 1234), (b"link 1", 33), (b"private", 34), (b"mode 4755", 33)):
            os.chown(os.fsencode(place) + b"/tree/" + name, number, number + 1, follow_symlinks=False)
        (place / "tree" / "mode 4755").chmod(0o4755)
    subprocess.run(["tar", "-C", place, "-S", f"--format={kind}", "-cf", place / "a.tar", "tree"], check=ROOT)
    before = os.umask(umask)
    try:
        code, errors = both(place, user, options)
    finally:
        os.umask(before)
    expected = 1 if who == "other" and options == ["--same-owner"] else 0
    assert code == expected, errors
    assert bool(errors) == bool(expected)
    for name in ("theirs", "ours"):
        os.utime(place / name, (0, 0))
    if not ROOT:
        subprocess.run(["chmod", "-R", "u+rw", place / "theirs", place / "ours"], check=True)
    ours, theirs = tars.state(place / "ours"), tars.state(place / "theirs")
    assert {name: state for name, state in ours.items() if theirs.get(name) != state} == {}
    assert ours.keys() == theirs.keys()
    for name in ("sparse", "hole"):
        assert (place / "ours" / "tree" / name).stat().st_blocks < 100


@pytest.mark.skipif(not ROOT, reason="only root makes devices")
def test_devices_on_demand(place: Path) -> None:
    (place / "dev").mkdir()
    try:
        os.mknod(place / "dev" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(place / "dev" / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    except PermissionError:
        pytest.skip("no devices in this container")
    subprocess.run(["tar", "-C", place, "-cf", place / "a.tar", "dev"], check=True)
    code, errors = both(place, [], ["--devices"])
    assert (code, errors) == (0, b"")
    os.utime(place / "ours", (0, 0))
    os.utime(place / "theirs", (0, 0))
    assert tars.state(place / "ours") == tars.state(place / "theirs")
    command = [sys.executable, "-m", "zllm", "extract", "a.zllm", "-C", "without"]
    done = subprocess.run(command, cwd=place, check=False, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"2 members (dev/loop, ...)" in done.stderr and b"--devices" in done.stderr
    assert os.listdir(place / "without" / "dev") == []


@pytest.mark.parametrize("step", [b"d" * 200, b"e"])
def test_paths_longer_than_the_system_takes(tmp_path: Path, step: bytes) -> None:
    """Depth is no limit where each folder is a member; GNU tar gives up at 4,096 bytes."""
    depth = 25 if len(step) > 1 else 1500
    names = [b"/".join([step] * n) for n in range(1, depth + 1)]
    parts = [tars.member(name, kind=tars.FOLDER, mode=0o750, mtime=n) for n, name in enumerate(names)]
    parts.append(tars.member(names[-1] + b"/file", b"deep", mode=0o640, mtime=5))
    parts.append(tars.member(names[-1] + b"/hard", kind=tars.HARD, link=names[-1] + b"/file"))
    parts.append(tars.member(names[-1] + b"/link", kind=tars.SYMBOLIC, link=b"file"))
    tars.archive("a.zllm", *parts)
    assert tars.run("a.zllm", "-C", "out", "-p") == (0, [])
    folder = os.open("out", os.O_RDONLY)
    for number in range(depth):
        inner = os.open(step, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
        state = os.fstat(folder)
        assert (stat.S_IMODE(state.st_mode), state.st_mtime) == (0o750, number)
    assert sorted(os.listdir(folder)) == ["file", "hard", "link"]
    file = os.open("link", os.O_RDONLY, dir_fd=folder)
    assert os.read(file, 100) == b"deep"
    state = os.fstat(file)
    assert (stat.S_IMODE(state.st_mode), state.st_mtime, state.st_nlink) == (0o640, 5, 2)
    os.close(file)
    os.close(folder)
    subprocess.run(["rm", "-rf", "out"], check=True)


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "en_US.ISO-8859-1"},
        {"LC_ALL": "C.UTF-8"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["posix", "gnu", "v7"])
def test_names_are_the_same_bytes_in_every_locale(place: Path, kind: str, environment: dict[str, str]) -> None:
    names = [b"a", "e\u0301".encode(), "日本".encode(), b"\xe9", b"\xff\xfe", b"zz", "é".encode()]
    (place / "n").mkdir()
    for name in names:
        put(os.fsencode(place) + b"/n/" + name, name)
        with contextlib.suppress(FileExistsError):
            os.symlink(name, os.fsencode(place) + b"/n/to-" + name)
    subprocess.run(["tar", "-C", place, f"--format={kind}", "-cf", place / "a.tar", "n"], check=True)
    tars.archive(place / "a.zllm", (place / "a.tar").read_bytes(), end=b"")
    for options in ([], ["--filter", "data"]):
        command = [sys.executable, "-m", "zllm", "extract", "a.zllm", "-C", "x", *options]
        done = subprocess.run(command, cwd=place, check=False, capture_output=True, env={**os.environ, **environment})
        assert (done.returncode, done.stderr) == (0, b"")
        found = os.fsencode(place) + b"/x/n"
        assert sorted(os.listdir(found)) == sorted(os.listdir(os.fsencode(place) + b"/n"))
        for name in names:
            assert Path(os.fsdecode(found + b"/" + name)).read_bytes() == name
            assert os.readlink(found + b"/to-" + name) == name
