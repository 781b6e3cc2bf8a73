"""Tar streams that were broken, cut or joined before they were packed, and raw streams."""

from __future__ import annotations

import io
import tarfile
import traceback
from pathlib import Path

import pytest
from archive.stories import Pipe, packed, run

import zllm

SECTION = 32 << 20


def block(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    header = bytearray(512)
    header[: len(name)] = name
    header[100:124] = b"0000644\x000001750\x000001750\0"
    header[124:136] = size
    header[136:148] = b"%011o\0" % 0
    header[148:157] = b" " * 8 + kind
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def member(name: bytes, data: bytes = b"x\n", kind: bytes = b"0") -> bytes:
    return block(name, b"%011o\0" % len(data), kind) + data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    text = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        size = rest + len(str(rest))
        size = rest + len(str(size))
        text += b"%d %s=%s\n" % (size, key, value)
    return block(b"pax", b"%011o\0" % len(text), b"x") + text + bytes(-len(text) % 512)


END = bytes(1024)
BEFORE, AFTER = member(b"before"), member(b"after")


def told(stream: bytes, folder: Path) -> tuple[list[str], dict[str, int]]:
    """The names that list gives, and the exit codes. Files and pipes, and Python, must agree."""
    data = packed(stream, SECTION, level=2)
    path = folder / "a.zllm"
    path.write_bytes(data)
    codes, names = {}, []
    for where, name, feed in (("file", str(path), None), ("pipe", "-", data)):
        code, out, _ = run("list", "--null", name, data=feed)
        codes[f"list {where}"] = code
        names.append([part.decode() for part in out.split(b"\0")[:-1]])
        codes[f"test {where}"] = run("test", name, data=feed)[0]
        codes[f"extract {where}"] = run("extract", name, "-C", str(folder / where), data=feed)[0]
        assert run("cat", "--tar", name, data=feed) == (0, stream, "")
        found = []
        mode, file = ("r", io.BytesIO(data)) if feed is None else ("r|", Pipe(data))
        archive = zllm.open(fileobj=file, mode=mode)
        try:
            for info in archive:
                found.append(info.name)
        except zllm.BrokenTarError:
            assert isinstance(archive.problem, tarfile.ReadError)
        names.append(found)
    assert run("-d", data=data) == (0, stream, "")
    assert all(some == names[0] for some in names)
    return names[0], codes


def test_a_flipped_header_costs_one_member(tmp_path: Path) -> None:
    broken = bytearray(member(b"b") + AFTER)
    broken[3] ^= 1
    names, codes = told(BEFORE + bytes(broken) + END, tmp_path)
    assert names == ["before", "after"] and set(codes.values()) == {2}
    assert (tmp_path / "file/after").read_bytes() == (tmp_path / "pipe/after").read_bytes() == b"x\n"


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" + (256**11 - 512).to_bytes(11, "big"),
        b"\xff" * 12,
        b"\x80" + (1 << 63).to_bytes(11, "big"),
        b"\x80" + (1 << 80).to_bytes(11, "big"),
        b"-0000000777\0",
        b"9" * 12,
        b"0x10\0" + bytes(7),
    ],
)
def test_sizes_that_are_none(size: bytes, tmp_path: Path) -> None:
    names, codes = told(BEFORE + block(b"minus", size) + AFTER + END, tmp_path)
    assert names == ["before", "after"] and set(codes.values()) == {2}


@pytest.mark.parametrize("value", [b"-512", b"99999999999999999999", b" 2", b"2e0", b"x"])
def test_pax_sizes_that_are_none_do_not_count(value: bytes, tmp_path: Path) -> None:
    """The size of the block does, or the member is left out: its neighbours are where they are in any case."""
    names, codes = told(BEFORE + pax((b"size", value)) + member(b"m", b"12") + AFTER + END, tmp_path)
    assert names[0] == "before" and names[-1] == "after" and len(set(codes.values())) == 1
    if "m" in names:
        assert (tmp_path / "file/m").read_bytes() == b"12"


@pytest.mark.parametrize("cut", [513, 600, 1023, 1024 + 512 + 2000])
def test_cut_before_packing(cut: int, tmp_path: Path) -> None:
    stream = (BEFORE + member(b"large", b"y" * 5000))[:cut]
    names, codes = told(stream, tmp_path)
    assert set(codes.values()) == {2}
    assert names == (["before"] if cut < 1024 else ["before", "large"])
    assert not (tmp_path / "file/large").exists() and not (tmp_path / "pipe/large").exists()


def test_cut_between_members_is_what_tar_takes(tmp_path: Path) -> None:
    names, codes = told(BEFORE + AFTER, tmp_path)
    assert names == ["before", "after"] and set(codes.values()) == {0}


def test_two_tars_in_one_stream(tmp_path: Path) -> None:
    names, codes = told(BEFORE + END + bytes(4096) + AFTER + END, tmp_path)
    assert names == ["before", "after"] and set(codes.values()) == {0}


def test_bytes_behind_the_end_are_a_warning(tmp_path: Path) -> None:
    names, codes = told(BEFORE + END + b"signature" * 99, tmp_path)
    assert names == ["before"] and set(codes.values()) == {1}


def test_extended_headers_without_a_member(tmp_path: Path) -> None:
    names, codes = told(BEFORE + pax((b"path", b"nowhere")), tmp_path)
    assert names == ["before"] and set(codes.values()) == {2}


def test_an_empty_git_archive(tmp_path: Path) -> None:
    header = bytearray(pax((b"comment", b"0" * 40)))
    header[156:157] = b"g"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    names, codes = told(bytes(header) + END, tmp_path)
    assert names == [] and set(codes.values()) == {0}


def test_a_thousand_extended_headers_do_not_stop_what_follows(tmp_path: Path) -> None:
    names, codes = told(BEFORE + pax((b"comment", b"c")) * 1500 + member(b"deep") + AFTER + END, tmp_path)
    assert names[0] == "before" and names[-1] == "after" and len(set(codes.values())) == 1


@pytest.mark.parametrize(
    "records",
    [
        ((b"GNU.sparse.map", b"0,-1"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"4,2,0,1"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"0,2,100,2"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.map", b"0,600"), (b"GNU.sparse.size", b"1000")),
        ((b"GNU.sparse.map", b"a,b"), (b"GNU.sparse.size", b"10")),
        ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"-5")),
        ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5")),
    ],
)
def test_sparse_maps_that_make_no_sense(records: tuple[tuple[bytes, bytes], ...], tmp_path: Path) -> None:
    names, codes = told(BEFORE + pax(*records) + member(b"m") + AFTER + END, tmp_path)
    assert names == ["before", "after"] and set(codes.values()) == {2}


def test_a_sparse_member_of_four_exabytes_is_tested_by_what_is_stored(tmp_path: Path) -> None:
    records = ((b"GNU.sparse.map", b"0,2"), (b"GNU.sparse.size", b"%d" % (1 << 62)))
    data = packed(BEFORE + pax(*records) + member(b"m") + AFTER + END, SECTION, level=2)
    (tmp_path / "a.zllm").write_bytes(data)
    for words in ((), ("m",), ("after",)):
        assert run("test", str(tmp_path / "a.zllm"), *words) == (0, b"", "")
        assert run("test", "-", *words, data=data) == (0, b"", "")


@pytest.mark.parametrize("stream", [
    b"", b"\0", b"x", b"sixsix", bytes(100), bytes(511), b"\xfe" * 511, b"\xfe" * 512, b"\xfe" * 513, b"\xfe" * 5000,
])  # fmt: skip
def test_raw_streams_of_any_size(stream: bytes, tmp_path: Path) -> None:
    names, codes = [], {}
    data = packed(stream, 4 << 10, level=2)
    path = tmp_path / "a.zllm"
    path.write_bytes(data)
    for name, feed in ((str(path), None), ("-", data)):
        code, out, _ = run("list", "--null", name, data=feed)
        names.append(out)
        codes[f"list {name}"] = code
        codes[f"test {name}"] = run("test", name, data=feed)[0]
        codes[f"info {name}"] = run("info", name, data=feed)[0]
        code, _, text = run("extract", name, data=feed)
        assert code == 2 and "zllm -d < ARCHIVE" in text and text.count("\n") == 1
        mode, file = ("r", None) if feed is None else ("r|", Pipe(data))
        with pytest.raises(zllm.NotTarError) as caught:
            zllm.open(path if file is None else None, mode, fileobj=file)
        assert isinstance(caught.value, tarfile.ReadError)
        with caught.value.view as view:
            assert view.read() == stream
    assert names == [b"-\0", b"-\0"] and set(codes.values()) == {0}


def test_a_raw_stream_that_begins_with_sections_of_zeros(tmp_path: Path) -> None:
    stream = bytes(20_000) + b"an image of a disk" * 99
    data = packed(stream, 4 << 10, level=2)
    (tmp_path / "a.zllm").write_bytes(data)
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", data)):
        assert run("list", name, data=feed)[:2] == (0, b"-\n")
        assert run("test", name, data=feed)[0] == 0


@pytest.mark.parametrize("kind", [b"0", b"M", b"5"])
@pytest.mark.parametrize("second", [False, True])
def test_damage_is_seen_wherever_it_is(kind: bytes, second: bool, tmp_path: Path) -> None:
    """In members of types that nobody knows, behind the first end of the tar, and in what is no member."""
    secret = bytes(range(7, 250)) * 200
    stream = BEFORE + (END if second else b"") + member(b"m", secret, kind) + AFTER + END
    bad = bytearray(packed(stream, SECTION, level=1))
    bad[len(bad) // 2] ^= 1
    (tmp_path / "a.zllm").write_bytes(bad)
    assert run("test", str(tmp_path / "a.zllm"))[0] == 3
    assert run("test", "-", data=bytes(bad))[0] == 3


def test_errors_are_new_for_each_member(tmp_path: Path) -> None:
    """Members of one frame: each has an error of its own, with its own name, and no growing traceback."""
    stream = b"".join(member(b"m%d" % number, b"text %d " % number * 50) for number in range(9)) + END
    bad = bytearray(packed(stream, SECTION, level=2))
    (row,) = zllm.open(fileobj=io.BytesIO(bytes(bad))).layout.rows
    for at in (5, 9):  # one wrong byte would be corrected
        bad[row.end - at] ^= 1
    archive = zllm.open(fileobj=io.BytesIO(bytes(bad)))
    errors = []
    for info in archive.getmembers():
        with pytest.raises(zllm.DamagedError, match=info.name) as caught:
            archive.extractfile(info).read()
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 9 and [error.member for error in errors] == [f"m{n}" for n in range(9)]
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1
