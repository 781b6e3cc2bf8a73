"""``Archive``: its members are what tarfile makes of the same headers, and one is found without all the others."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from format.strategies import checked, damaged, given, infos, unit_of
from hypothesis import strategies as st

import zllm
from zllm.archive import builder
from zllm.archive.archive import Archive
from zllm.archive.fileview import FileView
from zllm.archive.member import Member
from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.errors import BrokenTarError, DamagedError, LinkTargetError, UsageError

FACTS = (
    "name", "size", "mode", "mtime", "type", "linkname", "uid", "gid", "uname", "gname", "devmajor", "devminor",
    "offset", "offset_data", "pax_headers", "sparse",
)  # fmt: skip
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])


def packed(stream: bytes) -> io.BytesIO:
    out = io.BytesIO()
    writer = Writer(out, WriteOptions(level=1, threads=1))
    writer.write(stream)
    writer.close()
    out.seek(0)
    return out


def facts(member: object) -> dict[str, object]:
    return {name: getattr(member, name) for name in FACTS}


def both(stream: bytes) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """What the archive says of its members, and what is said of them when all headers are parsed by tarfile."""

    class Asked(zllm.ZllmInfo):
        """Not the class that members get without tarfile."""

    mine = [facts(member) for member in Archive(packed(stream))]
    theirs = []
    with zllm.open(fileobj=packed(stream), tarinfo=Asked, encoding="utf-8") as archive:
        try:
            theirs += [facts(member) for member in archive]
        except (DamagedError, BrokenTarError):
            theirs = [facts(member) for member in archive.members]
    return mine, theirs


def unit(info: tarfile.TarInfo, tar_format: int) -> bytes:
    try:
        return bytes(unit_of(info, tar_format))
    except ValueError:  # what ustar cannot hold
        return bytes(unit_of(info, tarfile.PAX_FORMAT))


@given(st.lists(st.tuples(infos(), FORMATS), max_size=5))
def test_members_are_what_tarfile_finds(members: list[tuple[tarfile.TarInfo, int]]) -> None:
    stream = bytearray()
    for info, tar_format in members:
        stream += unit(info, tar_format) + bytes(-(-info.size // 512) * 512)
    mine, theirs = both(bytes(stream) + bytes(1024))
    assert mine == theirs and len(mine) == len(members)


def test_an_extended_header_whose_mode_is_not_a_number() -> None:
    info = tarfile.TarInfo("\u00cf")
    blocks = bytearray(unit_of(info, tarfile.PAX_FORMAT))
    blocks[100] = 1
    blocks[:512] = checked(bytes(blocks[:512]))
    last = unit_of(tarfile.TarInfo("last"), tarfile.PAX_FORMAT)
    mine, theirs = both(bytes(blocks) + last + bytes(1024))
    assert mine == theirs


@given(st.data(), infos(), FORMATS)
def test_odd_headers_are_what_tarfile_finds(data: st.DataObject, info: tarfile.TarInfo, tar_format: int) -> None:
    """Headers with changed bytes, whose checksums hold."""
    info.size = 0
    blocks = unit(info, tar_format)
    other = bytearray(data.draw(damaged(blocks)).ljust(len(blocks), b"\0")[: len(blocks)])
    for start in range(0, len(other), 512):
        if other[start + 257 : start + 262] == b"ustar":
            other[start : start + 512] = checked(bytes(other[start : start + 512]))
    first = unit_of(tarfile.TarInfo("first"), tarfile.PAX_FORMAT)
    mine, theirs = both(first + bytes(other) + unit_of(tarfile.TarInfo("last"), tarfile.PAX_FORMAT) + bytes(1024))
    assert mine == theirs


@pytest.mark.parametrize(
    "records",
    [
        {"path": "other/name"}, {"path": "folder/"}, {"path": ""}, {"linkpath": "elsewhere"}, {"uid": "77"},
        {"uid": "x"}, {"gid": " 5 "}, {"size": "0"}, {"size": "00"}, {"size": "x"}, {"mtime": "12.5"}, {"mtime": "x"},
        {"mtime": "1e3"}, {"uname": "me", "gname": "us"}, {"hdrcharset": "BINARY", "path": "b"},
        {"comment": "7 hdrcharset=BINARY\n"}, {"GNU.sparse.name": "s", "path": "p"}, {"GNU.sparse.realsize": "9"},
        {"SCHILY.xattr.user.a": "\0\1\2"}, {"atime": "1.5", "ctime": "2", "LIBARCHIVE.creationtime": "3.000000001"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.AREGTYPE, b"D"])
def test_pax_records(records: dict[str, str], kind: bytes) -> None:
    info = tarfile.TarInfo("the/name/")
    info.type, info.pax_headers = kind, records
    mine, theirs = both(unit_of(info, tarfile.PAX_FORMAT) + bytes(1024))
    assert mine == theirs


def test_global_headers_count_for_all_that_follow() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"uname": "all", "comment": "c"}) as tar:
        for name in "ab":
            tar.addfile(tarfile.TarInfo(name))
    mine, theirs = both(out.getvalue())
    assert mine == theirs and [one["uname"] for one in mine] == ["all", "all"]


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """An archive of a dozen sections; one name is there twice, in different ones."""
    monkeypatch.setattr(builder, "SECTION", 64 << 10)
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=1) as archive:
        for number in range(400):
            name = "twice" if number in (3, 350) else f"folder/file{number}"
            info = zllm.ZllmInfo(name)
            info.size, info.mtime = 600, number + 0.5
            archive.addfile(info, io.BytesIO(b"%06d" % number * 100))
        link = zllm.ZllmInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "folder/file7"
        archive.addfile(link)
    out.seek(0)
    return out


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of sections whose maps are read, from now on."""
    seen: list[int] = []
    load = FileView._load

    def counted(self: FileView, *args: object) -> object:
        seen.append(1)
        return load(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FileView, "_load", counted)
    return seen


def test_find(sections: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(sections)
    assert archive.layout is not None and len(archive.layout.rows) > 5
    seen = looked_at(monkeypatch)
    found = archive.find("folder/file200")
    assert isinstance(found, Member) and found.mtime == 200.5
    assert len(seen) < 3  # one, and seldom one more that seems to have the name
    twice = archive.find("twice")
    assert twice is not None and twice.mtime == 350.5
    file = archive.open(twice)
    assert file is not None and file.read() == b"000350" * 100
    assert len(seen) < 6
    assert archive.find("nowhere") is None
    everything = {member.name: member for member in archive}
    assert everything["folder/file200"] == found and everything["twice"] == twice


def test_getmember_reads_one_map(sections: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
    with zllm.open(fileobj=sections) as archive:
        seen = looked_at(monkeypatch)
        found = archive.getmember("folder/file200/")
        assert found.mtime == 200.5 and len(seen) < 3
        assert archive.getmember("folder/file200") is found
        assert archive.getmember("twice").mtime == 350.5
        with pytest.raises(KeyError):
            archive.getmember("nowhere")
        assert [one for one in archive.getmembers() if one.name == "folder/file200"] == [found]
        assert archive.getmember("folder/file200") is found


def test_links_lead_to_data(sections: io.BytesIO) -> None:
    archive = Archive(sections)
    link = archive.find("link")
    assert link is not None
    file = archive.open(link)
    assert file is not None and file.read() == b"000007" * 100
    link.linkname = "nowhere"
    with pytest.raises(LinkTargetError, match="no member is called 'nowhere'"):
        archive.open(link)


def test_a_raw_stream_is_one_member(tmp_path: Path) -> None:
    data = b"no tar at all " * 999
    for seekable in (True, False):
        archive = Archive(packed(data), seekable=seekable)
        assert archive.raw
        (member,) = archive
        assert (member.name, member.isreg(), member.size) == ("-", True, len(data) if seekable else 0)
        file = archive.open(member)
        assert file is not None
        if seekable:
            assert file.read() == data


def test_a_pipe_has_no_order_to_search(sections: io.BytesIO) -> None:
    archive = Archive(sections, seekable=False)
    with pytest.raises(UsageError, match="in a pipe"):
        archive.find("twice")
    for member in archive:
        file = archive.open(member) if member.name == "twice" else None
        if file is not None:
            assert file.read()[:6] in (b"000003", b"000350")
