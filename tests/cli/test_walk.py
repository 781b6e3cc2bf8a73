"""Folders of any depth, by few descriptors; loops that end; what vanishes or moves while it is looked at."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zllm.cli.operands import Folder, Name
from zllm.cli.output import Console
from zllm.cli.patterns import Excluded
from zllm.cli.walk import Found, Rules, Walk, member_name

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def walk(*operands: str | Folder, rules: Rules | None = None) -> tuple[Iterator[Found], list[str]]:
    console = Console()
    said: list[str] = []
    console.print = said.append
    walker = Walk(rules or Rules(), console)
    return walker.operands(Name(one) if isinstance(one, str) else one for one in operands), said


def names(*operands: str | Folder, rules: Rules | None = None) -> tuple[list[str], list[str]]:
    found, said = walk(*operands, rules=rules)
    return [one.name for one in found], said


def deep(top: Path, levels: int, name: str) -> None:
    """A file ``last`` so many folders below ``top``, and a file ``z`` beside each of them."""
    top.mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def very_deep(tmp_path: Path) -> Iterator[None]:
    deep(tmp_path / "deep", 2000, "d" * 9)
    yield
    subprocess.run(["rm", "-r", tmp_path / "deep"], check=True)  # what pytest does about it would recurse


def test_two_thousand_levels(very_deep: None, few_descriptors: None) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    found, said = names("deep")
    assert said == [] and len(found) == 2000 * 2 + 2
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert found[2001] == found[2000] + "/last"
    assert found[2002:] == [f"{'/'.join(['deep', *['d' * 9] * level])}/z" for level in reversed(range(2000))]


def test_paths_of_any_length(tmp_path: Path, zllm: Run) -> None:
    deep(tmp_path / "deep", 25, "d" * 200)
    found, said = names("deep")
    assert said == [] and len(found) == 52 and len(found[26]) > 5000
    path = "/".join(["deep", *["d" * 200] * 25])
    assert names(f"{path}/last") == ([f"{path}/last"], [])
    assert names(Folder(path), "last") == (["last"], [])
    assert names(path, rules=Rules(recursive=False)) == ([path], [])
    assert names("deep", rules=Rules(excluded=Excluded(["deep/*/z", "last"])))[0] == [*found[:26], "deep/z"]
    zllm("create", "a.zllm", "deep", "--level", "2")
    assert zllm("list", "a.zllm").stdout.count(b"\n") == 52


def test_links_to_a_folder_above_are_not_followed_for_ever(tmp_path: Path, zllm: Run) -> None:
    (tmp_path / "top" / "sub").mkdir(parents=True)
    (tmp_path / "top" / "f").write_text("f")
    for name, target in {"sub/up": "..", "here": ".", "self": "self", "gone": "nowhere", "other": "sub"}.items():
        (tmp_path / "top" / name).symlink_to(target)
    result = zllm("create", "a.zllm", "top", "--dereference", code=1)
    lines = result.stderr.decode().splitlines()
    assert [line.split(": ", 3)[2] for line in lines] == [
        "top/gone", "top/here", "top/other/up", "top/self", "top/sub/up"
    ]  # fmt: skip
    assert all("leads back to a folder that it is in" in lines[number] for number in (1, 2, 4))
    assert "Too many levels of symbolic links: skipped" in lines[3]
    listed = zllm("list", "a.zllm").stdout.decode().split()
    assert listed == ["top/", "top/f", "top/here/", "top/other/", "top/other/up/", "top/sub/", "top/sub/up/"]
    zllm("create", "b.zllm", "top")
    assert b"top/here -> .\n" in zllm("list", "-v", "b.zllm").stdout


def test_what_links_point_to(tmp_path: Path, zllm: Run) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_text("content")
    (tmp_path / "real" / "g").symlink_to("f")
    (tmp_path / "link").symlink_to("real")
    assert names("link")[0] == ["link"]
    assert names("link", rules=Rules(dereference=True))[0] == ["link", "link/f", "link/g"]
    zllm("create", "a.zllm", "link", "--dereference")
    assert zllm("cat", "a.zllm", "link/g").stdout == b"content"


def test_a_folder_that_moves_away_while_it_is_read(tmp_path: Path) -> None:
    """Deeper than folders stay open: the way back leads to another place, and nothing is read there."""
    deep(tmp_path / "top", 40, "d")
    middle = tmp_path / "top" / "d" / "d" / "d"
    found, said = walk("top")
    seen = []
    for one in found:
        seen.append(one.name)
        if one.name.endswith("last"):
            middle.rename(tmp_path / "elsewhere")
            (tmp_path / "z").touch()
    assert seen[-3:] == ["top/d/d/z", "top/d/z", "top/z"]
    assert len(said) == 0 or all("the rest of its contents is skipped" in line for line in said)


def test_what_vanishes(tmp_path: Path) -> None:
    for name in ("a", "b/x", "c"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    found, said = walk("top")
    seen = []
    for one in found:
        seen.append(one.name)
        if one.name == "top/a":
            (tmp_path / "top" / "c").unlink()
        if one.name == "top/b":
            shutil.rmtree(tmp_path / "top" / "b")
    assert seen == ["top", "top/a", "top/b"]
    assert said == [
        "zllm: warning: top/b: No such file or directory: its contents are skipped",
        "zllm: warning: top/c: No such file or directory: skipped",
    ]


def test_an_excluded_folder_is_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "top" / "out" / "x").mkdir(parents=True)
    (tmp_path / "top" / "in").mkdir()
    listed: list[tuple[int, int]] = []
    original = os.listdir

    def listdir(descriptor: int) -> list[str]:
        listed.append((os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino))
        return original(descriptor)

    monkeypatch.setattr(os, "listdir", listdir)
    assert names("top", rules=Rules(excluded=Excluded(["out"])))[0] == ["top", "top/in"]
    assert listed == [(path.stat().st_dev, path.stat().st_ino) for path in (tmp_path / "top", tmp_path / "top" / "in")]


def test_names_in_the_archive() -> None:
    table = {
        "a": "a", "/": ".", ".": ".", "..": ".", "/a/b/": "a/b", "../a": "a", "a/../../b/c": "b/c", "./a": "./a",
        "a/..": ".", "//a": "a", "a/b": "a/b", "/etc/hosts": "etc/hosts", "../../x": "x", "a/../b": "b", "dir/": "dir",
    }  # fmt: skip
    assert {path: member_name(path) for path in table} == table


def test_everything_found_can_be_opened_at_once(tree: Path) -> None:
    found, _ = walk(str(tree))
    for one in found:
        state = os.stat(one.base, dir_fd=one.folder, follow_symlinks=False)
        assert os.path.samestat(state, one.stat) and os.path.samestat(state, os.lstat(one.path))
        assert stat.S_IFMT(state.st_mode)
