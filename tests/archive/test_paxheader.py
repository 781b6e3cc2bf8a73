"""Headers: what fits into a ustar block is there alone, the rest exactly in a pax header, for tarfile to read back."""

from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

import pytest

import zllm
from zllm.archive import paxheader


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + bytes(1024)), encoding="utf-8") as archive:
        member = archive.next()  # only the first: no data follows
        assert member is not None
        return member


def built(nanoseconds: int | None = None, extra: dict[str, str] | None = None, **fields: object) -> bytes:
    info = tarfile.TarInfo("name")
    for field, value in fields.items():
        setattr(info, field, value)
    return paxheader.build(info.get_info(), extra or {}, "utf-8", nanoseconds)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0"), (1, "0.000000001"), (-1, "-0.000000001"), (-1_500_000_000, "-1.5"), (10**9, "1"),
        (1_700_000_000_999_999_999, "1700000000.999999999"), (1_700_000_000_100_000_000, "1700000000.1"),
        (-(10**9), "-1"), (-2_000_000_001, "-2.000000001"), (10**20 + 1, "100000000000.000000001"),
    ],
)  # fmt: skip
def test_decimal(nanoseconds: int, text: str) -> None:
    assert paxheader.decimal(nanoseconds) == text


@pytest.mark.parametrize("nanoseconds", [0, 10**9, 1_700_000_000 * 10**9, (8**11 - 1) * 10**9])
def test_whole_seconds_need_no_pax_header(nanoseconds: int) -> None:
    data = built(nanoseconds)
    assert len(data) == 512 and read(data).mtime == nanoseconds // 10**9


@pytest.mark.parametrize("nanoseconds", [-1, -(10**9), 8**11 * 10**9, 1, 1_700_000_000_999_999_999])
def test_other_times_are_exact(nanoseconds: int) -> None:
    member = read(built(nanoseconds))
    assert member.pax_headers["mtime"] == paxheader.decimal(nanoseconds)


@pytest.mark.parametrize("mtime", [0, 5, 1.5, -1, -1.5, 1e15, 1e22, 1e-7, 2.0])
def test_times_that_are_floats(mtime: float) -> None:
    assert read(built(mtime=mtime)).mtime == mtime


@pytest.mark.parametrize(
    "name", ["x", "a" * 100, "a" * 101, "ü", "\udcff", "x/" * 3000 + "y", "new\nline", "\u65e5" * 60, "é\udce9"]
)
def test_names_come_back(name: str) -> None:
    member = read(built(name=name, linkname=name, type=tarfile.SYMTYPE, uname=name[:40], gname="g"))
    assert (member.name, member.linkname, member.uname, member.gname) == (name, name, name[:40], "g")
    assert "hdrcharset" not in member.pax_headers


def test_a_name_in_another_encoding() -> None:
    info = tarfile.TarInfo("\udcff é")
    for encoding in ("ascii", "latin-1", "utf-8"):
        assert b"\xff \xc3\xa9" in paxheader.build(info.get_info(), {}, encoding, None) or encoding == "latin-1"
    with pytest.raises(ValueError):
        paxheader.build(tarfile.TarInfo("\ud800").get_info(), {}, "utf-8", None)


@pytest.mark.parametrize("number", [0, 1, 8**7 - 1, 8**7, 3_000_000, 2**32 - 2])
def test_owners_of_any_number(number: int) -> None:
    member = read(built(uid=number, gid=number))
    assert (member.uid, member.gid) == (number, number)


def test_random_members_come_back() -> None:
    rng = random.Random(9)
    for _ in range(200):
        fields = {
            "name": "".join(rng.choices("aü/\udc80\n=0 ", k=rng.randrange(1, 200))).strip("/ ") or "x",
            "mode": rng.randrange(0o10000), "size": rng.choice([0, 5, 8**11 - 1, 8**11, 2**50]),
            "uid": rng.randrange(2**32), "gid": rng.randrange(2**22), "type": tarfile.REGTYPE,
        }  # fmt: skip
        nanoseconds = rng.randrange(-(2**62), 2**62)
        member = read(built(nanoseconds, {"comment": "x" * rng.randrange(120)}, **fields))
        assert {field: getattr(member, field) for field in fields} == fields
        assert member.pax_headers["mtime"] == paxheader.decimal(nanoseconds)


def test_add_keeps_nanoseconds_unless_the_time_is_changed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(0, 1_700_000_000_123_456_789))
    os.utime(tmp_path / "c", ns=(0, 1_700_000_000_000_000_000))

    def early(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime = 7
        return info

    with zllm.open("t.zllm", "w", level=1) as archive:
        archive.add("a")
        archive.add("b", filter=early)
        archive.add("c")
        with open("a", "rb") as file:
            archive.addfile(archive.gettarinfo(arcname="d", fileobj=file), file)
    with zllm.open("t.zllm") as archive:
        times = [(member.mtime, member.pax_headers.get("mtime")) for member in archive]
    assert times[1:3] == [(7, None), (1_700_000_000, None)]
    assert times[0][1] == times[3][1] == "1700000000.123456789"


def test_a_sparse_member_that_is_added_again_is_whole(tmp_path: Path) -> None:
    """What is read of it has its holes as zeros, so its map would be taken from its data."""
    with open(tmp_path / "s", "wb") as file:
        file.write(b"head")
        file.truncate(1 << 20)
    from zllm.cli.main import main

    assert main(["create", "-q", "-2", "a.zllm", "s"]) == 0
    with zllm.open("a.zllm") as old, zllm.open("b.zllm", "w", level=1) as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
    with zllm.open("b.zllm") as archive:
        stream = archive.extractfile("s")
        assert stream is not None and stream.read() == (tmp_path / "s").read_bytes()
