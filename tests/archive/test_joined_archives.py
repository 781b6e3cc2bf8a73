"""Archives one behind the other, at any place of a file, with padding; and indices that do not say what is there."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import takeapart
from archive.stories import Pipe, run

import zllm
from zllm.archive import layout
from zllm.format import directory, ends
from zllm.format.directory import Directory
from zllm.format.envelope import SYNC, Kind

MODES = pytest.mark.parametrize("mode", ["r", "r|"])
Made = tuple[bytes, dict[str, bytes]]


def made(first: str, count: int = 3, text: bytes = b"All happy families are alike. " * 40, **options: object) -> Made:
    files = {f"{first}{number}": f"{first} {number} ".encode() + text for number in range(count)}
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", **{"level": 2, **options}) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue(), files


def contents(data: bytes, mode: str, skip: int = 0) -> dict[str, bytes]:
    file = io.BytesIO(data) if mode == "r" else Pipe(data)
    file.read(skip)
    with zllm.open(fileobj=file, mode=mode) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}
        assert archive.warnings == []
    return found


@MODES
@pytest.mark.parametrize("gap", [0, 1, 17, 512, 70_000])
def test_archives_one_behind_the_other(mode: str, gap: int) -> None:
    (a, in_a), (b, in_b), (c, in_c) = made("a"), made("b", 0), made("c")
    joined = bytes(gap).join((a, b, c)) + bytes(gap)
    assert contents(joined, mode) == {**in_a, **in_b, **in_c}
    assert contents(b"#" * 100 + joined, mode, 100) == {**in_a, **in_c}


@MODES
def test_a_footer_may_end_with_zeros(mode: str) -> None:
    for number in range(5000):  # one in 256 does
        ended, files = made(f"a{number}-", 1, b"text")
        if ended[-1] == 0:
            break
    assert ended[-1] == 0
    assert contents(ended, mode) == contents(ended + bytes(5), mode) == contents(ended + ended, mode) == files


def test_the_tar_streams_follow_each_other(tmp_path: Path) -> None:
    (a, _), (b, _) = made("a"), made("b")
    streams = run("-d", data=a)[1] + run("-d", data=b)[1]
    (tmp_path / "ab.zllm").write_bytes(a + b)
    assert run("-d", data=a + b) == (0, streams, "")
    assert run("cat", "--tar", str(tmp_path / "ab.zllm")) == (0, streams, "")
    assert run("list", str(tmp_path / "ab.zllm"))[1].split() == [b"a0", b"a1", b"a2", b"b0", b"b1", b"b2"]
    assert run("test", str(tmp_path / "ab.zllm"))[0] == 0
    with tarfile.open(fileobj=io.BytesIO(streams), ignore_zeros=True) as tar:
        assert tar.getnames() == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, prose: bytes) -> list[Made]:
    """Two archives, each with a model of its own that is nowhere installed."""
    from zllm.models import store, zlm

    file = zlm.read(store.DATA_FOLDER / "fast.zlm")
    text = prose[:6000]
    result = []
    for name in "ab":
        path = tmp_path_factory.mktemp("model") / f"{name}.zlm"
        zlm.write(path, {**file.description, "name": name}, file.tensors)
        result.append(made(name, 1, text, level=8, model=path, embed_model=True, threads=1))
    return result


@MODES
def test_embedded_models_of_both(embedded: list[Made], mode: str) -> None:
    (a, in_a), (b, in_b) = embedded
    assert contents(a + b, mode) == {**in_a, **in_b}
    with zllm.open(fileobj=io.BytesIO(a + b)) as archive:
        assert [model["name"] for model in archive.manifest["models"]] == ["a", "b"]
        assert archive.layout is not None
        places = [place.offset for (place,) in archive.layout.models.values()]
    assert places == [ends.HEADER_SIZE, len(a) + ends.HEADER_SIZE]


@MODES
def test_the_second_copy_of_a_damaged_model(embedded: list[Made], mode: str) -> None:
    a, in_a = embedded[0]
    bad = bytearray(a)
    for at in (4000, 4009):  # one wrong byte would be corrected
        bad[takeapart.of_kind(a, Kind.MODEL)[0].body_at + at] ^= 1
    if mode == "r":
        assert contents(bytes(bad) + a, mode) == in_a
    assert run("test", "-", data=bytes(bad) + a)[0] == 3
    assert contents(a + a, mode) == in_a


@MODES
@pytest.mark.parametrize("garbage", [b"\n", b"-- signature", SYNC + b"\1omething", bytes(9) + b"x" * 70_000])
def test_other_bytes_behind_an_archive_are_a_warning(garbage: bytes, mode: str, tmp_path: Path) -> None:
    data, files = made("a")
    file = io.BytesIO(data + garbage) if mode == "r" else Pipe(data + garbage)
    with zllm.open(fileobj=file, mode=mode) as archive:
        assert {member.name: archive.extractfile(member).read() for member in archive} == files
        assert len(archive.warnings) == 1 and f"{len(garbage.lstrip(bytes(1)))} bytes" in archive.warnings[0]
    (tmp_path / "a.zllm").write_bytes(data + garbage)
    for words in (("list",), ("test",), ("extract", "-C", str(tmp_path / "out")), ("cat", "--tar")):
        assert run(*words, str(tmp_path / "a.zllm"))[0] == 1
        assert run(*words, "-", data=data + garbage)[0] == 1
    assert run("-d", data=data + garbage)[:2] == (1, run("-d", data=data)[1])


def test_a_second_archive_that_is_cut(tmp_path: Path) -> None:
    (a, _), (b, _) = made("a"), made("b")
    for cut in (4, 8, 15, 16, 17, 40, len(b) - 1):
        data = a + b[:cut]
        (tmp_path / "a.zllm").write_bytes(data)
        for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", data)):
            code, out, text = run("list", name, data=feed)
            assert code == 3 and out.split()[:3] == [b"a0", b"a1", b"a2"] and "truncated" in text, cut


def test_an_archive_of_a_later_version_behind(tmp_path: Path) -> None:
    from zllm.format.wire import checksum

    a, _ = made("a")
    head = bytearray(ends.pack_header(b"abcd"))[:-2]
    head[8] = 99
    later = bytes(head) + checksum(2, head) + b"what ever"
    (tmp_path / "a.zllm").write_bytes(a + later)
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", a + later)):
        code, out, text = run("list", name, data=feed)
        assert code in (2, 3) and out.split() == [b"a0", b"a1", b"a2"] and "version 99" in text


# Directories that lie


def with_rows(data: bytes, rows: list[directory.Row]) -> bytes:
    """The archive with another directory."""
    return takeapart.with_end(data, directory.pack(Directory(rows)))


@pytest.mark.parametrize(
    "lie", ["hides", "hides the first", "repeats", "displaces", "shrinks", "counts", "frames", "invents", "none"]
)
def test_a_directory_that_lies_is_found_out(lie: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from zllm.archive import builder

    monkeypatch.setattr(builder, "SECTION", 2048)
    data, files = made("a", 5)
    rows = directory.unpack(takeapart.of_kind(data, Kind.DIRECTORY)[0].body).rows
    assert len(rows) >= 3
    first, last = rows[0], rows[-1]
    assert first.header is not None and last.header is not None
    far = replace(last.header, stream_offset=1 << 20)
    less = replace(first.header, stream_size=first.header.stream_size - 512)
    wrong = {
        "hides": rows[:-1],
        "hides the first": rows[1:],
        "repeats": [*rows, replace(last, offset=last.offset + 1, header=far)],
        "displaces": [replace(first, offset=first.offset + 1), *rows[1:]],
        "shrinks": [
            replace(first, header=less),
            *rows[1:],
        ],
        "counts": [replace(first, sequence=1), *rows[1:]],
        "frames": [replace(first, frames=first.frames + 1), *rows[1:]],
        "invents": [*rows, replace(first, offset=len(data) - 60, header=far)],
        "none": rows,
    }[lie]
    bad = with_rows(data, wrong)
    (tmp_path / "a.zllm").write_bytes(bad)
    expected = 0 if lie == "none" else 3
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", bad)):
        code, out, _ = run("list", name, data=feed)
        assert (code, out.split()) == (expected, [part.encode() for part in files])
        assert run("test", name, data=feed)[0] == expected
        target = tmp_path / ("pipe" if feed else "file")
        assert run("extract", name, "-C", str(target), data=feed)[0] == expected
        assert {path.name: path.read_bytes() for path in target.iterdir()} == files


def test_a_damaged_section_header_that_the_directory_has_too(tmp_path: Path) -> None:
    """Two wrong bytes are not corrected; a file has the header once more."""
    import random

    files = {"noise": random.Random(1).randbytes(100_000)}
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=1) as archive:
        info = zllm.ZllmInfo("noise")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(files["noise"]))
    data = bytearray(out.getvalue())
    data[20] ^= 1
    data[24] ^= 1
    (tmp_path / "a.zllm").write_bytes(data)
    assert run("extract", str(tmp_path / "a.zllm"), "-C", str(tmp_path / "out"))[0] == 3
    assert (tmp_path / "out/noise").read_bytes() == files["noise"]
    assert run("test", str(tmp_path / "a.zllm"))[0] == run("test", "-", data=bytes(data))[0] == 3


def test_a_section_that_is_lost_costs_its_members_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from zllm.archive import builder

    monkeypatch.setattr(builder, "SECTION", 2048)
    data, files = made("a", 6)
    rows = layout.find(io.BytesIO(data)).rows
    bad = bytearray(data)
    start = rows[1].offset
    bad[start : start + 60] = bytes(60)
    (tmp_path / "a.zllm").write_bytes(bad)
    found = []
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", bytes(bad))):
        code, out, _ = run("list", name, data=feed)
        assert code == 3
        found.append(out.split())
    assert found[0] == found[1]
    assert b"a0" in found[0] and b"a5" in found[0] and len(found[0]) >= len(files) - 2


def test_a_filter_gives_all_that_is_before_the_damage(tmp_path: Path) -> None:
    import random

    rng = random.Random(4)
    files = {f"noise{number}": rng.randbytes(300_000) for number in range(3)}
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=1) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    bad = bytearray(out.getvalue())
    at = bad.index(files["noise1"][:50])
    bad[at : at + 2] = bytes((bad[at] ^ 1, bad[at + 1] ^ 1))
    whole = run("-d", data=out.getvalue())[1]
    code, data, text = run("-d", data=bytes(bad))
    assert code == 3 and "noise1" in text
    assert data == whole[: whole.index(files["noise1"][:50])]
