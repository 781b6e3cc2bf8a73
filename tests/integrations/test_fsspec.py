"""The file system of archives and the compression, as fsspec's own tests of archives have them."""

from __future__ import annotations

import io
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

fsspec = pytest.importorskip("fsspec")

from integrations.webserver import serving  # noqa: E402

import zllm  # noqa: E402
from zllm.integrations.fsspec_ import ZllmFileSystem, plain  # noqa: E402
from zllm.integrations.ranges import RangeFile  # noqa: E402

CONTENT = {"a": b"a" * 10, "b": b"hello", "deeply/nested/path": b"stuff"}


def add(archive: zllm.ZllmFile, name: str, data: bytes = b"", **facts: object) -> None:
    info = zllm.ZllmInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    with zllm.open(tmp_path / "x.zllm", "w", level=3) as archive:
        for name, data in CONTENT.items():
            add(archive, name, data, mtime=1_700_000_000)
    return tmp_path / "x.zllm"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """What file systems have beside files."""
    with zllm.open(tmp_path / "odd.zllm", "w", level=3) as archive:
        add(archive, ".", type=b"5")
        add(archive, "./folder", type=b"5", mode=0o750)
        add(archive, "./folder/file", b"old")
        add(archive, "./folder/file", b"newer")
        add(archive, "./empty", type=b"5")
        add(archive, "link", type=b"2", linkname="folder/file")
        add(archive, "folder/up", type=b"2", linkname="../folder/file")
        add(archive, "to folder", type=b"2", linkname="folder")
        add(archive, "dangling", type=b"2", linkname="nowhere")
        add(archive, "loop", type=b"2", linkname="loop")
        add(archive, "hard", type=b"1", linkname="folder/file")
        add(archive, "pipe", type=b"6")
    return tmp_path / "odd.zllm"


def test_reading(packed: Path) -> None:
    for name, data in CONTENT.items():
        with fsspec.open(f"zllm://{name}::file://{packed}") as file:
            assert file.read() == data and file.size == len(data)
    with fsspec.open(f"zllm://b::{packed}", "rt", encoding="ascii") as text:
        assert text.read() == "hello"
    system = fsspec.filesystem("zllm", fo=str(packed))
    assert system.cat("b") == b"hello" and system.cat(["a", "b"]) == {"a": b"a" * 10, "b": b"hello"}
    assert system.cat_file("b", start=1, end=3) == b"el" and system.cat_file("b", start=-3) == b"llo"
    assert system.head("b", 2) == b"he" and system.tail("b", 2) == b"lo"
    assert system.read_block("deeply/nested/path", 1, 3) == b"tuf"
    files = fsspec.open_files(f"zllm://*::file://{packed}")
    assert [file.path for file in files] == ["a", "b"]


def test_listing(packed: Path) -> None:
    system = fsspec.filesystem("zllm", fo=str(packed))
    assert system.ls("", detail=False) == system.ls("/", detail=False) == ["a", "b", "deeply"]
    assert system.ls("deeply/", detail=False) == ["deeply/nested"]
    assert [one["name"] for one in system.ls("a")] == ["a"]
    assert system.find("") == ["a", "b", "deeply/nested/path"]
    assert system.find("", withdirs=True) == ["a", "b", "deeply", "deeply/nested", "deeply/nested/path"]
    assert system.glob("**/p*") == ["deeply/nested/path"]
    assert list(system.walk("")) == [
        ("", ["deeply"], ["a", "b"]), ("deeply", ["nested"], []), ("deeply/nested", [], ["path"]),
    ]  # fmt: skip
    assert system.du("") == 20
    assert system.isdir("deeply") and system.isfile("a") and system.exists("") and not system.exists("c")
    for path in ("c", "deeply/c", "a/b"):
        with pytest.raises(FileNotFoundError):
            system.info(path)
        with pytest.raises(FileNotFoundError):
            system.ls(path)
        with pytest.raises(FileNotFoundError):
            system.open(path)
    with pytest.raises(IsADirectoryError):
        system.open("deeply")
    with pytest.raises(ValueError, match="read only"):
        system.open("a", "wb")
    assert system.modified("a").timestamp() == 1_700_000_000
    with pytest.raises(FileNotFoundError):
        system.modified("deeply")


def test_what_is_told_before_and_after_listing_is_the_same(odd: Path) -> None:
    listed = fsspec.filesystem("zllm", fo=str(odd))
    listed.find("")
    for name in ("folder/file", "link", "folder", "hard", "dangling", "pipe"):
        assert fsspec.filesystem("zllm", fo=str(odd)).info(name) == listed.info(name)


def test_odd_members(odd: Path) -> None:
    system = fsspec.filesystem("zllm", fo=str(odd))
    assert system.ls("", detail=False) == [
        "dangling", "empty", "folder", "hard", "link", "loop", "pipe", "to folder",
    ]  # fmt: skip
    assert system.cat("folder/file") == b"newer" and system.info("folder/file")["size"] == 5
    assert system.ls("empty") == [] and system.isdir("to folder")
    assert stat.S_IMODE(system.info("folder")["mode"]) == 0o750 and stat.S_ISDIR(system.info("folder")["mode"])
    for name in ("link", "folder/up", "hard"):
        assert system.info(name)["size"] == 5 and system.cat(name) == b"newer"
    assert system.info("link")["islink"] and system.info("link")["destination"] == "folder/file"
    for name in ("dangling", "loop"):
        assert system.info(name)["type"] == "other"
        with pytest.raises(FileNotFoundError):
            system.cat(name)
    assert system.info("pipe")["type"] == "other"
    with pytest.raises(OSError, match="no data"):
        system.open("pipe")


def test_copies_to_disk(packed: Path, tmp_path: Path) -> None:
    system = fsspec.filesystem("zllm", fo=str(packed))
    system.get("", str(tmp_path / "out"), recursive=True)
    found = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*")
             if path.is_file()}  # fmt: skip
    assert found == CONTENT
    assert fsspec.get_mapper(f"zllm://deeply::file://{packed}")["nested/path"] == b"stuff"


def test_files_outlive_the_file_system(packed: Path) -> None:
    file = fsspec.filesystem("zllm", fo=str(packed)).open("b")
    assert file.read() == b"hello"


def test_file_objects_and_options(packed: Path) -> None:
    with packed.open("rb") as opened:
        assert ZllmFileSystem(opened, threads=1).cat("b") == b"hello"
    assert ZllmFileSystem(packed).cat("b") == b"hello"
    assert ZllmFileSystem(fsspec.open(str(packed))).cat("b") == b"hello"
    with pytest.raises(zllm.LimitError):
        ZllmFileSystem(packed, limits=zllm.Limits(members=1)).ls("")
    with pytest.raises(FileNotFoundError):
        ZllmFileSystem(packed.parent / "missing")
    with pytest.raises(zllm.NotZllmError):
        ZllmFileSystem(__file__)


def test_generations(packed: Path) -> None:
    with zllm.open(packed, "a") as archive:
        archive.delete(["a"])
        add(archive, "b", b"changed")
    now, before = ZllmFileSystem(packed), ZllmFileSystem(packed, generation=0)
    assert now.find("") == ["b", "deeply/nested/path"] and now.cat("b") == b"changed"
    assert before.find("") == sorted(CONTENT) and before.cat("b") == b"hello"


def test_one_raw_stream(tmp_path: Path) -> None:
    (tmp_path / "s.zllm").write_bytes(zllm.compress(b"stream", 1))
    system = fsspec.filesystem("zllm", fo="s.zllm")
    assert system.ls("", detail=False) == ["-"] and system.info("-")["size"] == 6
    with system.open("-") as one, system.open("-") as other:
        assert one.read(3) == b"str" and other.read() == b"stream" and one.read() == b"eam"
    assert system.cat("-") == b"stream"


def test_pickles(packed: Path) -> None:
    system = fsspec.filesystem("zllm", fo=str(packed), threads=1)
    assert pickle.loads(pickle.dumps(system)).cat("b") == b"hello"
    opened = pickle.loads(pickle.dumps(fsspec.open(f"zllm://b::file://{packed}")))
    with opened as file:
        assert file.read() == b"hello"


def test_threads_share_a_file_system(packed: Path) -> None:
    system, found, barrier = ZllmFileSystem(packed), [], threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for name in random.Random(number).choices(sorted(CONTENT), k=20):
            found.append(system.cat_file(name) == CONTENT[name])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 160


def test_names() -> None:
    assert [plain(name) for name in ("/a", "./a//b/", ".", "a/./b", "../a")] == ["a", "a/b", "", "a/b", "../a"]


# Compression


def test_the_compression(tmp_path: Path) -> None:
    with fsspec.open("memory://data.txt.zllm", "wt", compression="infer", encoding="utf-8") as file:
        file.write("text " * 500)
    with fsspec.open("memory://data.txt.zllm", "rb") as file:
        assert file.read() == zllm.compress(b"text " * 500)
    with fsspec.open("memory://data.txt.zllm", compression="zllm") as file:
        assert file.read() == b"text " * 500
    with fsspec.open(f"file://{tmp_path}/x.zllm", "wb", compression="zllm") as file:
        file.write(b"bytes")
    assert zllm.decompress((tmp_path / "x.zllm").read_bytes()) == b"bytes"


def test_entry_points_alone(packed: Path, tmp_path: Path, checkout: Path) -> None:
    """Nothing of zllm is imported by the program: fsspec finds the file system by what the package declares."""
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    declared = text.split('[project.entry-points."fsspec.specs"]\n')[1].split("\n\n")[0].replace('"', "")
    folder = tmp_path / "site" / "declared-0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 0\n")
    (folder / "entry_points.txt").write_text(f"[fsspec.specs]\n{declared}\n")
    code = "import fsspec; print(fsspec.open('zllm://b::file://x.zllm').open().read())"
    path = os.pathsep.join([str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    where = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path, env=where)
    assert run.stdout.strip() == b"b'hello'"


# Ranges


class Counted:
    """A file system that notes what is asked of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(self.data)
        self.asked.append((start, end))
        return self.data[start:end]


def test_a_range_file_is_the_file() -> None:
    data = random.Random(1).randbytes(3_000_001)
    system, rng = Counted(data), random.Random(2)
    file, other = RangeFile(system, "x", len(data)), io.BytesIO(data)
    assert file.seek(0, io.SEEK_END) == len(data) and file.read(5) == b""
    for _ in range(400):
        at, size = rng.randrange(len(data) + 10), rng.choice([0, 1, 30, 3000, 70_000, 300_000, -1])
        assert file.seek(at) == other.seek(at)
        assert file.read(size) == other.read(size)
        assert file.tell() == other.tell() or at > len(data)
    with pytest.raises(OSError):
        file.seek(-1)


def test_few_requests() -> None:
    data = random.Random(1).randbytes(2_000_000)
    system = Counted(data)
    file = RangeFile(system, "x", len(data))
    for at in (1_999_990, 1_990_000, 1_800_000, 1_999_000):
        file.seek(at)
        assert file.read(10) == data[at : at + 10]
    assert len(system.asked) == 1
    file.seek(0)
    assert b"".join(iter(lambda: file.read(1000), b"")) == data
    assert len(system.asked) < 35
    file.seek(1000)
    before = len(system.asked)
    assert file.read(1_000_000) == data[1000:1_001_000]
    assert system.asked[before:] == [(1000, 1_001_000)], "long reads are exact"


def large(path: Path, megabytes: int) -> dict[str, bytes]:
    """An archive of many stored members of 12 KiB on average."""
    rng, samples = random.Random(7), {}
    with zllm.open(path, "w", level=1) as archive:
        for number in range(megabytes * 85):
            data = rng.randbytes(rng.randrange(24 << 10))
            add(archive, f"folder {number % 100}/member {number}", data)
            if number % 1000 == 500:
                samples[f"folder {number % 100}/member {number}"] = data
    return samples


def test_a_small_member_of_a_large_archive_over_http(tmp_path: Path) -> None:
    """Beside the frames under 2 MB are read; of 64 MB here. ZLLM_HTTP_MB=1000 makes it a gigabyte."""
    pytest.importorskip("aiohttp")
    samples = large(tmp_path / "large.zllm", int(os.environ.get("ZLLM_HTTP_MB", "64")))
    size = (tmp_path / "large.zllm").stat().st_size
    with serving(tmp_path) as web:
        for name, data in list(samples.items())[:: max(1, len(samples) // 3)]:
            with zllm.open(tmp_path / "large.zllm") as archive:
                frame = frame_of(archive, name)
            web.reset()
            with fsspec.open(f"zllm://{name}::{web.url}/large.zllm") as file:
                assert file.read() == data
            beside = web.bytes - frame
            print(f"{size / 1e6:.0f} MB, {name}: {web.requests} requests, {web.bytes} bytes, {beside} beside its frame")
            assert web.requests <= 8
            assert 0 < beside < 2_000_000
        system = fsspec.filesystem("zllm", fo=f"{web.url}/large.zllm")
        web.reset()
        assert len(system.find("")) >= len(samples)
        print(f"listing: {web.requests} requests, {web.bytes} bytes")
        assert web.bytes < size / 20


def frame_of(archive: zllm.ZllmFile, name: str) -> int:
    """Bytes of the frames that a member is in."""
    view = archive.view
    member = archive.getmember(name)
    section = view.section_at(member.offset_data)  # type: ignore[union-attr]
    layout = section.layout  # type: ignore[union-attr]
    number = layout.place(member.offset_data - section.header.stream_offset).record  # type: ignore[union-attr]
    frames = {extent.frame for extent in layout.extents(number, 0, member.size)}
    return sum(layout.frames[frame].coded_size for frame in frames)


@pytest.mark.parametrize(("ranges", "sizes"), [(False, True), (True, False), (False, False)])
def test_servers_without_ranges_or_sizes(ranges: bool, sizes: bool, packed: Path) -> None:
    pytest.importorskip("aiohttp")
    with serving(packed.parent, ranges=ranges, sizes=sizes) as web:
        with fsspec.open(f"zllm://b::{web.url}/x.zllm") as file:
            assert file.read() == b"hello"
        if sizes and not ranges:
            assert web.bytes <= 2 * packed.stat().st_size, "the whole is fetched once"
        with pytest.raises(FileNotFoundError):
            fsspec.filesystem("zllm", fo=f"{web.url}/missing.zllm")


def test_through_a_cache(packed: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with serving(packed.parent) as web:
        for cache in ("simplecache", "filecache", "blockcache"):
            url = f"zllm://b::{cache}::{web.url}/x.zllm"
            with fsspec.open(url, **{cache: {"cache_storage": str(tmp_path / cache)}}) as file:
                assert file.read() == b"hello"


def test_over_s3(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's server, on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    service = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    service.start()
    try:
        host, port = service.get_host_and_port()
        options = {"client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-central-1"},
                   "skip_instance_cache": True}  # fmt: skip
        bucket = fsspec.filesystem("s3", **options)
        bucket.mkdir("bucket")
        bucket.put(str(packed), "bucket/x.zllm")
        with fsspec.open("zllm://deeply/nested/path::s3://bucket/x.zllm", s3=options) as file:
            assert file.read() == b"stuff"
        system = fsspec.filesystem("zllm", fo="s3://bucket/x.zllm", target_options=options)
        assert isinstance(system.fo, RangeFile) and system.find("") == sorted(CONTENT)
        with fsspec.open("s3://bucket/y.txt.zllm", "wb", compression="zllm", **options) as file:
            file.write(b"text")
        with fsspec.open("s3://bucket/y.txt.zllm", compression="infer", **options) as file:
            assert file.read() == b"text"
    finally:
        service.stop()
