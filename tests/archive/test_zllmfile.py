"""ZllmFile behaves as TarFile does."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zllm

FAST = {"level": 2}


def pack(folder: Path, out: Path, **options: object) -> Path:
    with zllm.open(out, "w", **{**FAST, **options}) as archive:
        archive.add(folder, arcname=folder.name)
    return out


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"hello\r\n" * 50)
    (root / "empty.bin").write_bytes(b"")
    (root / "bytes.bin").write_bytes(bytes(range(256)) * 9)
    (root / "nul.txt").write_bytes(b"\0" * 1000 + b"\xff\xfe bad utf-8 \x80" * 7)
    (root / "sub" / ("long" * 60)).write_bytes(b"long name")
    Path(os.fsdecode(os.fsencode(root) + b"/odd\xff\xfename")).write_bytes(b"odd")
    (root / "link").symlink_to("a.txt")
    os.link(root / "a.txt", root / "sub" / "hard")
    (root / "a.txt").chmod(0o751)
    os.utime(root / "bytes.bin", (1_000_000_000.25, 1_000_000_000.25))
    return root


def contents(root: Path) -> dict[str, tuple[object, ...]]:
    out: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        if path.is_symlink():
            out[str(path.relative_to(root))] = ("link", str(path.readlink()))
        else:
            data = path.read_bytes() if path.is_file() else None
            out[str(path.relative_to(root))] = (data, state.st_mode, round(state.st_mtime, 4))
    return out


@pytest.mark.parametrize("level", [1, 3, 6])
def test_tree_comes_back(tree: Path, tmp_path: Path, level: int) -> None:
    name = pack(tree, tmp_path / "t.zllm", level=level)
    with zllm.open(name) as archive:
        archive.extractall(tmp_path / "out")
    assert contents(tmp_path / "out" / "tree") == contents(tree)
    a, hard = tmp_path / "out" / "tree" / "a.txt", tmp_path / "out" / "tree" / "sub" / "hard"
    assert a.stat().st_ino == hard.stat().st_ino


def test_same_members_as_tarfile(tree: Path, tmp_path: Path) -> None:
    name = pack(tree, tmp_path / "t.zllm")
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(tree, arcname=tree.name)
    with zllm.open(name) as ours, tarfile.open(tmp_path / "t.tar") as theirs:
        assert ours.getnames() == theirs.getnames()
        for one, two in zip(ours.getmembers(), theirs.getmembers(), strict=True):
            assert one.get_info() == two.get_info()
            assert isinstance(one, zllm.ZllmInfo)


def test_the_tar_stream_is_the_same_byte_for_byte(tree: Path, tmp_path: Path) -> None:
    """As long as a float holds the times, and names are UTF-8: others tarfile marks by a record of its own."""
    Path(os.fsdecode(os.fsencode(tree) + b"/odd\xff\xfename")).unlink()
    for number, path in enumerate(sorted([tree, *tree.rglob("*")])):
        os.utime(path, (0, 1_600_000_000 + number + (1 + number % 3) / 4), follow_symlinks=False)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as plain:
        plain.add(tree, arcname="tree")
    name = pack(tree, tmp_path / "t.zllm")
    with zllm.open(name) as archive:
        archive.fileobj.seek(0)
        assert archive.fileobj.read() == tar.getvalue()


def test_extractfile_is_a_seekable_stream(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(300_000) + b"text " * 1000
    with zllm.open(tmp_path / "t.zllm", "w", **FAST) as archive:
        for name in ("one", "two"):
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zllm.open(tmp_path / "t.zllm") as archive:
        one, two = archive.extractfile("one"), archive.extractfile("two")
        assert one is not None
        assert two is not None
        assert one.seekable()
        one.seek(299_990)
        two.seek(100)
        assert one.read(20) == data[299_990:300_010]
        assert two.read(50) == data[100:150]
        assert one.seek(-5, io.SEEK_END) == len(data) - 5
        assert one.read() == data[-5:]
        assert archive.getmember("two").coded_size == 0  # the same content, once
        assert archive.getmember("one").sha256 == hashlib.sha256(data).hexdigest()
        with pytest.raises(KeyError):
            archive.extractfile("three")


def test_listing_decodes_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = pack(tree, tmp_path / "t.zllm")
    from zllm.archive.sections import Section

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(Section, "load", never)
    with zllm.open(name) as archive:
        assert [m.codecs for m in archive if m.isreg() and m.size]


def test_through_pipes(tree: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    import threading

    def produce() -> None:
        with os.fdopen(write, "wb") as out, zllm.open(fileobj=out, mode="w|", **FAST) as archive:
            archive.add(tree, arcname="tree")

    thread = threading.Thread(target=produce)
    thread.start()
    with os.fdopen(read, "rb") as source, zllm.open(fileobj=source, mode="r|") as archive:
        archive.extractall(tmp_path / "out")
    thread.join()
    assert contents(tmp_path / "out" / "tree") == contents(tree)


def test_data_filter_is_the_default(tmp_path: Path) -> None:
    with zllm.open(tmp_path / "t.zllm", "w", **FAST) as archive:
        info = zllm.ZllmInfo("../escaped")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    (tmp_path / "out").mkdir()
    with zllm.open(tmp_path / "t.zllm") as archive, pytest.raises(tarfile.OutsideDestinationError):
        archive.extractall(tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


def test_modes(tmp_path: Path) -> None:
    name = tmp_path / "t.zllm"
    with zllm.open(name, "x", **FAST):
        pass
    with pytest.raises(FileExistsError):
        zllm.open(name, "x")
    with pytest.raises(zllm.UsageError):
        zllm.open(name, "a:gz")
    with pytest.raises(zllm.UsageError):
        zllm.open()
    with pytest.raises(zllm.UsageError):
        zllm.open(name, "w", level=10)
    assert zllm.is_zllmfile(name)
    assert not zllm.is_zllmfile(__file__)
    with pytest.raises(FileNotFoundError):
        zllm.is_zllmfile(tmp_path / "none")
    with name.open("rb") as file:
        assert zllm.is_zllmfile(file)
    with zllm.open(name) as archive:
        assert archive.getmembers() == []


def test_a_failed_archive_never_gets_its_name(tree: Path, tmp_path: Path) -> None:
    name = tmp_path / "t.zllm"
    with pytest.raises(RuntimeError), zllm.open(name, "w", **FAST) as archive:
        archive.add(tree)
        raise RuntimeError
    assert os.listdir(tmp_path) == ["tree"]
    name.write_bytes(b"the old one")
    with pytest.raises(RuntimeError), zllm.open(name, "w", **FAST) as archive:
        raise RuntimeError
    assert name.read_bytes() == b"the old one"


def test_a_file_that_shrinks_is_padded(tmp_path: Path) -> None:
    path = tmp_path / "shrinks"
    path.write_bytes(b"x" * 1000)

    class Shrinking(zllm.ZllmFile):
        def gettarinfo(self, *args: object, **kwargs: object) -> tarfile.TarInfo:
            info = super().gettarinfo(*args, **kwargs)
            path.write_bytes(b"x" * 400)
            return info

    with Shrinking.open(tmp_path / "t.zllm", "w", **FAST) as archive:
        archive.add(path, arcname="shrinks")
        assert "shrank" in archive.warnings[0]
    with zllm.open(tmp_path / "t.zllm") as archive:
        file = archive.extractfile("shrinks")
        assert file is not None
        assert file.read() == b"x" * 400 + bytes(600)


def test_a_short_file_object_is_an_error_and_the_archive_stays_valid(tmp_path: Path) -> None:
    with zllm.open(tmp_path / "t.zllm", "w", **FAST) as archive:
        info = zllm.ZllmInfo("short")
        info.size = 10
        with pytest.raises(OSError, match="unexpected end of data"):
            archive.addfile(info, io.BytesIO(b"abc"))
        archive.add(__file__, arcname="good")
    with zllm.open(tmp_path / "t.zllm") as archive:
        assert archive.extractfile("good").read() == Path(__file__).read_bytes()


def test_existing_links_and_files_are_replaced(tree: Path, tmp_path: Path) -> None:
    name = pack(tree, tmp_path / "t.zllm")
    for _ in range(2):
        with zllm.open(name) as archive:
            archive.extractall(tmp_path / "out")
    outside = tmp_path / "outside"
    outside.write_bytes(b"keep me")
    target = tmp_path / "out" / "tree" / "bytes.bin"
    target.unlink()
    target.symlink_to(outside)
    with zllm.open(name) as archive, pytest.raises(tarfile.OutsideDestinationError):
        archive.extractall(tmp_path / "out")  # as tarfile: nothing is written through a link that leads outside
    assert outside.read_bytes() == b"keep me"


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tar_dialects(tmp_path: Path, tar_format: int) -> None:
    with zllm.open(tmp_path / "t.zllm", "w", format=tar_format, **FAST) as archive:
        for i in range(50):
            info = zllm.ZllmInfo(f"folder/name {i}")
            info.size, info.mtime, info.uid = i * 37, 1_700_000_000 + i, 70_000 + i
            archive.addfile(info, io.BytesIO(bytes([i]) * info.size))
    with zllm.open(tmp_path / "t.zllm") as archive:
        for i, info in enumerate(archive):
            assert (info.size, info.mtime, info.uid) == (i * 37, 1_700_000_000 + i, 70_000 + i)
            assert archive.extractfile(info).read() == bytes([i]) * info.size


def test_sparse_files_of_gnu_tar(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
        file.seek(1_000_000)
        file.write(b"middle")
    for kind in ("gnu", "posix"):
        stream = subprocess.run(
            ["tar", "-C", tmp_path, f"--format={kind}", "-S", "-cf", "-", "sparse"], capture_output=True, check=True
        ).stdout
        archive = io.BytesIO()
        from zllm.archive.options import WriteOptions
        from zllm.archive.writer import Writer

        sink = Writer(archive, WriteOptions(level=2))
        sink.write(stream)
        sink.close()
        archive.seek(0)
        with zllm.open(fileobj=archive) as opened:
            opened.extractall(tmp_path / kind)
            opened.fileobj.seek(0)
            assert opened.fileobj.read() == stream
        assert (tmp_path / kind / "sparse").read_bytes() == path.read_bytes()


NAMES = st.text(st.characters(blacklist_characters="\0/", blacklist_categories=("Cs",)), min_size=1, max_size=300)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6), st.sampled_from([1, 2, 5]))
def test_arbitrary_names_and_bytes(files: dict[str, bytes], level: int) -> None:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=level) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for mode in ("r", "r|"):
        out.seek(0)
        with zllm.open(fileobj=out, mode=mode) as archive:
            found = {m.name: archive.extractfile(m).read() for m in archive}
        assert found == {tarfile.TarInfo(n).name.rstrip("/"): d for n, d in files.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=700), max_size=8), st.booleans())
def test_any_stream_comes_back(pieces: list[bytes], after_a_tar: bool) -> None:
    """Also what is no tar, or is one only at first."""
    from zllm.archive.coding import Decoders
    from zllm.archive.options import WriteOptions
    from zllm.archive.pipe import PipeView
    from zllm.archive.writer import Writer

    start = b""
    if after_a_tar:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as plain:
            plain.add(__file__, arcname="x")
        start = tar.getvalue()[:-1500]
    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=2))
    for piece in (start, *pieces):
        sink.write(piece)
    sink.close()
    out.seek(0)
    assert PipeView(out, Decoders()).read() == start + b"".join(pieces)


def test_200_megabytes_in_one_member(tmp_path: Path) -> None:
    """Three sections and a half, hashed over all of them; and back through a pipe view as well."""
    size = 200 << 20
    block = random.Random(2).randbytes(1 << 20)
    digest = hashlib.sha256()

    class Blocks(io.RawIOBase):
        left = size

        def read(self, count: int = -1) -> bytes:
            count = min(count, self.left, len(block))
            self.left -= count
            digest.update(block[:count])
            return block[:count]

    name = tmp_path / "big.zllm"
    with zllm.open(name, "w", **FAST) as archive:
        info = zllm.ZllmInfo("big")
        info.size = size
        archive.addfile(info, Blocks())
        archive.add(__file__, arcname="after")
    for mode in ("r", "r|"):
        with zllm.open(name, mode) as archive:
            member = archive.next()
            assert member is not None
            file, total, seen = archive.extractfile(member), 0, hashlib.sha256()
            while piece := file.read(1 << 20):
                seen.update(piece)
                total += len(piece)
            assert total == size
            assert seen.digest() == digest.digest()
            assert archive.fileobj.verified == member.offset_data
            assert archive.extractfile(archive.next()).read() == Path(__file__).read_bytes()
