"""Members can be copied, replaced and pickled, with what the archive knows of them and without the archive."""

from __future__ import annotations

import copy
import io
import pickle
import tarfile
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm

COPIES: dict[str, Callable[[zllm.ZllmInfo], zllm.ZllmInfo]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": lambda member: member.replace(),
    "replace shallow": lambda member: member.replace(deep=False),
    **{f"pickle {n}": lambda m, n=n: pickle.loads(pickle.dumps(m, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
}
DEEP = [name for name in COPIES if name not in ("copy", "replace shallow")]


@pytest.fixture
def name(tmp_path: Path) -> Path:
    path = tmp_path / "t.zllm"
    with zllm.open(path, "w", level=2, format=tarfile.PAX_FORMAT) as archive:
        for member in ("a.txt", "b.txt"):
            info = zllm.ZllmInfo(member)
            info.size, info.mtime, info.mode, info.pax_headers = 70_000, 1_700_000_000.5, 0o640, {"comment": member}
            archive.addfile(info, io.BytesIO(b"some text that repeats. " * 2917))
        link = zllm.ZllmInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)
    return path


def attributes(member: tarfile.TarInfo) -> dict[str, object]:
    found = {slot: getattr(member, slot, None) for slot in tarfile.TarInfo.__slots__ if "tarfile" not in slot}
    return {**found, "info": member.get_info()}


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_equal_and_apart(name: Path, how: str) -> None:
    with zllm.open(name) as archive:
        for member in archive:
            made = COPIES[how](member)
            assert type(made) is zllm.ZllmInfo
            assert attributes(made) == attributes(member)
            assert made.storage == member.storage
            made.name = "another"
            assert member.name != "another"
            assert (made.pax_headers is member.pax_headers) == (how not in DEEP)
        copies = [COPIES[how](member) for member in archive]
        assert archive.extractfile(copies[0]).read() == archive.extractfile("a.txt").read()


@pytest.mark.parametrize("how", DEEP)
def test_deep_copies_know_how_they_are_stored_without_the_archive(name: Path, how: str) -> None:
    archive = zllm.open(name)
    first, second = (COPIES[how](archive.getmember(member)) for member in ("a.txt", "b.txt"))
    view = weakref.ref(archive.fileobj)
    archive.close()
    del archive
    assert first.coded_size > 0 and first.codecs == ("zstd",) and first.category == "text" and first.reason
    assert second.coded_size == 0 and second.reason == "same content as an earlier member"
    assert first.sha256 == second.sha256 and len(first.sha256 or "") == 64
    import gc

    gc.collect()
    assert view() is None


def test_replace_changes_what_it_is_told(name: Path) -> None:
    with zllm.open(name) as archive:
        member = archive.getmember("a.txt")
        made = member.replace(name="x", mtime=5, mode=0o600, uid=7, gid=8, uname="u", gname="g", linkname="l")
        assert (made.name, made.mtime, made.mode, made.uid, made.gid) == ("x", 5, 0o600, 7, 8)
        assert (made.uname, made.gname, made.linkname, made.size) == ("u", "g", "l", 70_000)
        assert member.name == "a.txt"
        with pytest.raises(TypeError):
            member.replace(size=3)  # type: ignore[call-arg]


def test_filters_may_return_replaced_members(name: Path, tmp_path: Path) -> None:
    with zllm.open(name) as archive:
        chosen = [member.replace(name="new/" + member.name) for member in archive if member.isreg()]
        archive.extractall(tmp_path / "out", members=chosen)
    assert sorted(path.name for path in (tmp_path / "out" / "new").iterdir()) == ["a.txt", "b.txt"]


def test_members_made_by_gettarinfo_can_be_copied(name: Path, tmp_path: Path) -> None:
    with zllm.open(tmp_path / "new.zllm", "w", level=1) as archive:
        for how, made in COPIES.items():
            info = archive.gettarinfo(name, arcname=how)
            copied = made(info)  # type: ignore[arg-type]
            assert copied.get_info() == info.get_info()
            assert copied.storage == zllm.ZllmInfo("x").storage
            with name.open("rb") as file:
                archive.addfile(copied, file)
    with zllm.open(tmp_path / "new.zllm") as archive:
        assert archive.getnames() == list(COPIES)


class Marked(zllm.ZllmInfo):
    mark = ""


def test_subclasses_keep_their_own(name: Path) -> None:
    with zllm.open(name, tarinfo=Marked) as archive:
        member = archive.getmember("a.txt")
        assert isinstance(member, Marked)
        member.mark = "mine"
        for made in COPIES.values():
            copied = made(member)
            assert isinstance(copied, Marked) and copied.mark == "mine" and copied.codecs == ("zstd",)


def test_a_member_of_a_closed_archive(name: Path) -> None:
    with zllm.open(name) as archive:
        asked, never = archive.getmember("a.txt"), archive.getmember("b.txt")
        assert asked.codecs
    assert asked.codecs == ("zstd",)
    with pytest.raises(ValueError, match="the archive is closed"):
        never.codecs  # noqa: B018
    assert pickle.loads(pickle.dumps(asked)).codecs == ("zstd",)
    assert copy.deepcopy(never).codecs == ()


def test_a_member_of_a_pipe_that_has_gone_on(tmp_path: Path) -> None:
    import random

    with zllm.open(tmp_path / "p.zllm", "w", level=1) as archive:
        for member in ("a", "b"):
            info = zllm.ZllmInfo(member)
            info.size = 20 << 20
            archive.addfile(info, io.BytesIO(random.Random(member).randbytes(info.size)))
    with zllm.open(tmp_path / "p.zllm") as archive:
        known = archive.getmember("a").storage
    with zllm.open(tmp_path / "p.zllm", "r|") as archive:
        first = archive.next()
        assert first is not None
        assert archive.next() is not None
        assert copy.deepcopy(first).size == first.size
        try:  # never what is stored of another member
            assert first.storage in (known, zllm.ZllmInfo("nothing known").storage)
        except tarfile.StreamError as error:
            assert "the pipe has gone on" in str(error)
