"""``extract``, ``extractall`` and what they call, as in the newest tarfile, on every Python."""

from __future__ import annotations

import copy
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from extraction import tars
from extraction.tars import FOLDER, HARD, PIPE, SYMBOLIC, member

import zllm
from zllm.extraction import filters


def info(name: str, kind: bytes = tars.FILE, **fields: Any) -> tarfile.TarInfo:
    result = tarfile.TarInfo(name)
    result.type = kind
    result.mode = fields.pop("mode", 0o644)
    for key, value in fields.items():
        setattr(result, key, value)
    return result


# Filters


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (info("f", mode=0o777), 0o755), (info("f", mode=0o666), 0o644), (info("f", mode=0o000), 0o600),
        (info("f", mode=0o4755), 0o755), (info("f", mode=0o071), 0o640), (info("f", mode=0o3711), 0o711),
        (info("h", HARD, linkname="f", mode=0o020), 0o600), (info("d", FOLDER, mode=0o777), None),
        (info("l", SYMBOLIC, linkname="f", mode=0o777), None), (info("f", mode=None), None),
    ],
)  # fmt: skip
def test_modes_of_data(given: tarfile.TarInfo, mode: int | None, tmp_path: Path) -> None:
    given.uid, given.gid, given.uname, given.gname = 1, 2, "u", "g"
    result = filters.data_filter(given, str(tmp_path))
    assert result.mode == mode
    assert (result.uid, result.gid, result.uname, result.gname) == (None,) * 4
    assert given.uid == 1
    other = filters.tar_filter(given, str(tmp_path))
    assert (other.uid, other.uname) == (1, "u")
    assert other.mode == (None if given.mode is None else given.mode & 0o755)
    assert filters.fully_trusted_filter(given, str(tmp_path)) is given


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (info("../x"), filters.OutsideDestinationError), (info("a/../../x"), filters.OutsideDestinationError),
        (info("out/x"), filters.OutsideDestinationError), (info("p", PIPE), filters.SpecialFileError),
        (info("c", tars.CHARACTER), filters.SpecialFileError), (info("b", tars.BLOCK), filters.SpecialFileError),
        (info("l", SYMBOLIC, linkname="/x"), filters.AbsoluteLinkError),
        (info("l", HARD, linkname="/x"), filters.AbsoluteLinkError),
        (info("l", SYMBOLIC, linkname="../x"), filters.LinkOutsideDestinationError),
        (info("d/l", SYMBOLIC, linkname="../../x"), filters.LinkOutsideDestinationError),
        (info("d/l", HARD, linkname="../x"), filters.LinkOutsideDestinationError),
        (info("l", SYMBOLIC, linkname="out"), filters.LinkOutsideDestinationError),
        (info("l", SYMBOLIC, linkname="in/../.."), filters.LinkOutsideDestinationError),
        (info("l", SYMBOLIC, linkname="loop"), OSError), (info("loop/x"), OSError),
        (info("x" * 300), OSError), (info("a\0b"), OSError),
    ],
)  # fmt: skip
def test_refused_as_data(given: tarfile.TarInfo, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("..")
    (tmp_path / "in").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(error) as caught:
        filters.data_filter(given, str(tmp_path))
    if error is not OSError:
        assert isinstance(caught.value, tarfile.TarError)
        assert caught.value.tarinfo is given  # type: ignore[attr-defined]
        assert repr(given.name) in str(caught.value)


def test_what_data_changes_and_leaves(tmp_path: Path) -> None:
    place = str(tmp_path)
    assert filters.data_filter(info("/a/b"), place).name == "a/b"
    assert filters.data_filter(info("d/l", SYMBOLIC, linkname="../x"), place).linkname == "../x"
    assert filters.data_filter(info("d/l", SYMBOLIC, linkname="a//./b/../c/"), place).linkname == "a/c"
    assert filters.data_filter(info("l", HARD, linkname="a/./b"), place).linkname == "a/b"
    assert filters.data_filter(info("é\udcff/x"), place).name == "é\udcff/x"


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has no filters to compare with")
@pytest.mark.parametrize("name", ["f", "/f", "d/../f", "d/f"])
@pytest.mark.parametrize("kind", [tars.FILE, FOLDER])
@pytest.mark.parametrize("mode", [0, 0o644, 0o755, 0o7777])
def test_same_as_tarfile_where_it_was_right(name: str, kind: bytes, mode: int, tmp_path: Path) -> None:
    given = info(name, kind, mode=mode, uid=5, uname="u")
    for ours, theirs in ((filters.data_filter, tarfile.data_filter), (filters.tar_filter, tarfile.tar_filter)):
        assert ours(given, str(tmp_path)).get_info() == theirs(given, str(tmp_path)).get_info()


# extract and extractall


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    tars.archive(
        "a.zllm", member(b"d", kind=FOLDER, mode=0o500, mtime=3), member(b"d/f", b"data", mode=0o640, mtime=4),
        member(b"l", kind=SYMBOLIC, link=b"d/f"), member(b"h", kind=HARD, link=b"d/f"), member(b"g", b"more"),
    )  # fmt: skip
    return tmp_path / "a.zllm"


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize("options", [{}, {"filter": "data"}, {"filter": "tar"}, {"filter": "fully_trusted"}])
def test_extractall(mode: str, options: dict[str, Any], archive: Path) -> None:
    with zllm.open(archive, mode) as opened:
        opened.extractall("out", **options)
    out = Path("out")
    assert (out / "h").read_bytes() == (out / "l").read_bytes() == b"data"
    assert (out / "h").samefile(out / "d/f")
    assert stat.S_IMODE((out / "d/f").stat().st_mode) == 0o640
    assert (out / "d").stat().st_mtime == 3
    expected = {"fully_trusted": 0o500, "tar": 0o500}.get(options.get("filter", "data"), 0o777 & ~umask())
    assert stat.S_IMODE((out / "d").stat().st_mode) == expected


def umask() -> int:
    value = os.umask(0o022)
    os.umask(value)
    return value


@pytest.mark.parametrize("options", [{}, {"filter": "data"}, {"set_attrs": False}, {"numeric_owner": True}])
def test_extract(options: dict[str, Any], archive: Path) -> None:
    with zllm.open(archive) as opened:
        for each in (opened.getmember("d/f"), "l", "h"):
            opened.extract(each, "out", **options)
        opened.extract("g")
        with pytest.raises(KeyError):
            opened.extract("none")
    assert Path("out/h").read_bytes() == Path("out/l").read_bytes() == b"data"
    assert Path("out/h").samefile("out/d/f")
    assert Path("g").read_bytes() == b"more"
    state = os.stat("out/d/f")
    if options.get("set_attrs", True):
        assert (stat.S_IMODE(state.st_mode), state.st_mtime) == (0o640, 4)
    else:
        assert stat.S_IMODE(state.st_mode) == 0o666 & ~umask()
        assert state.st_mtime > 10**9


def test_a_hard_link_alone_gets_the_data(archive: Path) -> None:
    with zllm.open(archive) as opened:
        opened.extract("h", "out")
    assert os.listdir("out") == ["h"]
    assert Path("out/h").read_bytes() == b"data"


def test_functions_as_filters(archive: Path) -> None:
    seen = []

    def rename(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        seen.append((member.name, path))
        if member.name == "g":
            return None
        changed = filters.data_filter(member, path)
        if changed.issym():
            changed = copy.copy(changed)
            changed.name = "new-" + changed.name
        return changed

    with zllm.open(archive) as opened:
        opened.extractall("out", filter=rename)
    assert seen == [(name, "out") for name in ("d", "d/f", "l", "h", "g")]
    assert sorted(os.listdir("out")) == ["d", "h", "new-l"]
    with zllm.open(archive) as opened, pytest.raises(ValueError, match="'dta' not found"):
        opened.extractall("out", filter="dta")
    with zllm.open(archive) as opened:
        opened.extraction_filter = lambda member, path: None  # type: ignore[method-assign,assignment]
        opened.extractall("none")
        opened.extraction_filter = "data"  # type: ignore[method-assign,assignment]
        with pytest.raises(TypeError, match="function"):
            opened.extractall("none")
    assert os.listdir("none") == []


def test_errorlevel(tmp_path: Path) -> None:
    tars.archive("a.zllm", member(b"../x", b"x"), member(b"l", kind=SYMBOLIC, link=b"g"), member(b"g", b"x"))
    with zllm.open("a.zllm", errorlevel=0) as opened:
        opened.extractall("out")
    assert sorted(os.listdir("out")) == ["g", "l"]
    with zllm.open("a.zllm") as opened, pytest.raises(filters.OutsideDestinationError):
        opened.extractall("out1")
    assert os.listdir("out1") == []


def test_what_cannot_be_extracted_is_known_afterwards() -> None:
    """The rest is extracted; the error names the member, and is one of zllm's."""
    tars.archive("a.zllm", member(b"d/../x", b"x"), member(b"h", kind=HARD, link=b"none"), member(b"g", b"x"))
    with zllm.open("a.zllm") as opened:
        with pytest.raises(zllm.ZllmError, match=r"d/\.\./x"):
            opened.extractall("out")
        assert sorted(opened.failures) == ["d/../x", "h"]
        with pytest.raises(zllm.ZllmError, match="h: "):
            opened.extract("h", "out")
    assert os.listdir("out") == ["g"]


def test_attributes_that_cannot_be_set_matter_from_errorlevel_2(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    with zllm.open(archive) as opened:
        opened.extractall("out")
    with zllm.open(archive, errorlevel=2) as opened, pytest.raises(tarfile.ExtractError, match="mode"):
        opened.extractall("out2")


# What tarfile calls


@pytest.mark.parametrize("how", ["none", "positional", "keyword"])
def test_links_as_each_tarfile_makes_them(how: str, archive: Path) -> None:
    """By the newest ones with ``filter_function`` and ``extraction_root``, as keywords; not at all by old ones."""
    extra: dict[str, dict[str, Any]] = {"keyword": {"filter_function": filters.data_filter, "extraction_root": "out"}}
    arguments = (filters.data_filter, "out") if how == "positional" else ()
    os.makedirs("out/d")
    with zllm.open(archive) as opened:
        for turn in ("data", "link"):  # with the target on disk the second time
            for name in ("l", "h"):
                link = opened.getmember(name)
                link._link_target = os.path.join("out", link.linkname)  # type: ignore[attr-defined]
                call = opened.makelink if how == "none" else opened.makelink_with_filter
                call(link, f"out/{name}", *arguments, **extra.get(how, {}))
            assert os.readlink("out/l") == "d/f"
            assert Path("out/h").read_bytes() == b"data"
            if turn == "data":
                opened.makefile(opened.getmember("d/f"), "out/d/f")
        assert Path("out/h").samefile("out/d/f")
        link = opened.getmember("h")
        link.linkname = "none"
        del link._link_target  # type: ignore[attr-defined]
        with pytest.raises(tarfile.ExtractError):
            opened.makelink_with_filter(link, "out/x", filter_function=None, extraction_root="out")
    assert sorted(os.listdir("out")) == ["d", "h", "l"]


def test_a_link_to_oneself_or_to_a_folder_is_not_made_twice(archive: Path) -> None:
    with zllm.open(archive) as opened:
        for _ in range(3):
            opened.extractall("out")
    assert sorted(os.listdir("out")) == ["d", "g", "h", "l"]
    assert os.stat("out/h").st_nlink == 2


OLD_TARFILE = """
import tarfile  # as it is in Python 3.10.0 to 3.10.11 and 3.11.0 to 3.11.3
for name in dir(tarfile):
    if name.endswith(("_filter", "FilterError", "DestinationError", "LinkError", "SpecialFileError", "PathError")):
        delattr(tarfile, name)
for name in ("extraction_filter", "makelink_with_filter", "_get_filter_function", "_get_extract_tarinfo"):
    if hasattr(tarfile.TarFile, name):
        delattr(tarfile.TarFile, name)
if hasattr(tarfile.TarInfo, "replace"):
    del tarfile.TarInfo.replace
def old(function):
    def call(self, *args, **kwargs):
        if "filter" in kwargs:
            raise TypeError("unexpected keyword argument 'filter'")
        return function(self, *args, **kwargs)
    return call
for name in ("extract", "extractall"):
    setattr(tarfile.TarFile, name, old(getattr(tarfile.TarFile, name)))
"""


def test_pythons_without_filters(archive: Path) -> None:
    tars.archive("bad.zllm", member(b"../x", b"x"), member(b"l", kind=SYMBOLIC, link=b"/etc"), member(b"p", kind=PIPE))
    code = f"""
{OLD_TARFILE}
import os, tarfile, zllm
from zllm.cli.main import main
for options in ({{}}, {{"filter": "data"}}, {{"filter": "tar"}}, {{"filter": lambda member, path: member}}):
    out = "out%d" % len(os.listdir())
    with zllm.open("a.zllm") as archive:
        archive.extractall(out, **options)
        archive.extract("h", out + "/one", **options)
    assert sorted(os.listdir(out)) == ["d", "g", "h", "l", "one"]
for name, kind in (("../x", "OutsideDestinationError"), ("l", "AbsoluteLinkError"), ("p", "SpecialFileError")):
    with zllm.open("bad.zllm") as archive:
        try:
            archive.extract(name, "out")
        except tarfile.TarError as error:
            assert type(error).__name__ == kind, error
        else:
            raise AssertionError(name)
assert main(["extract", "a.zllm", "-C", "cli"]) == 0
assert sorted(os.listdir("cli")) == ["d", "g", "h", "l"]
assert main(["extract", "bad.zllm", "-C", "bad"]) == 2
assert sorted(os.listdir("bad")) == ["l", "p"]
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr
