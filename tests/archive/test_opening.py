"""The ways to open an archive that tarfile has: constructor, modes, names, keywords."""

from __future__ import annotations

import gc
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm


def add(archive: zllm.ZllmFile, name: str = "a", data: bytes = b"x") -> None:
    info = zllm.ZllmInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def name(tmp_path: Path) -> Path:
    path = tmp_path / "t.zllm"
    with zllm.open(path, "w", level=1) as archive:
        for member in ("a", "b", "c"):
            add(archive, member, member.encode())
    return path


@pytest.mark.parametrize("opener", [zllm.ZllmFile, zllm.open, zllm.ZllmFile.open, zllm.ZllmFile.taropen])
def test_all_of_them_read_and_write(tmp_path: Path, opener: Callable[..., zllm.ZllmFile]) -> None:
    with opener(tmp_path / "w.zllm", "w", level=1) as archive:
        assert (archive.mode, archive.closed) == ("w", False)
        add(archive)
    assert archive.closed
    assert zllm.is_zllmfile(tmp_path / "w.zllm")
    for arguments in ((tmp_path / "w.zllm",), (str(tmp_path / "w.zllm"), "r"), (os.fsencode(tmp_path / "w.zllm"),)):
        with opener(*arguments) as archive:
            assert (archive.mode, archive.getnames()) == ("r", ["a"])
    with pytest.raises(FileExistsError):
        opener(tmp_path / "w.zllm", "x")
    with opener(tmp_path / "x.zllm", "x") as archive:
        assert archive.mode == "x"
    with (tmp_path / "w.zllm").open("rb") as file, opener(None, fileobj=file) as archive:
        assert archive.getnames() == ["a"]
        archive.close()
        assert not file.closed


@pytest.mark.parametrize("opener", ["gzopen", "bz2open", "xzopen", "zstopen"])
def test_openers_of_other_formats_write_nothing(tmp_path: Path, opener: str) -> None:
    for mode in ("r", "w", "x"):
        with pytest.raises(zllm.OtherFormatError, match=r"tarfile\.TarFile"):
            getattr(zllm.ZllmFile, opener)(tmp_path / "q.zllm", mode)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["r:gz", "w:xz", "r|bz2", "w|zst", "x:gz", ":gz", "a:gz", "r:tar"])
def test_modes_of_other_formats(tmp_path: Path, mode: str) -> None:
    for kind in (tarfile.CompressionError, ValueError, zllm.UsageError):
        with pytest.raises(kind, match=r"tarfile\.open"):
            zllm.open(tmp_path / "q.zllm", mode)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["q", "rw", "", "rb", "wb", "r+", "R", None, 5])
def test_modes_that_do_not_exist(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="mode must be "):
        zllm.open(tmp_path / "q.zllm", mode)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["a", "a:", "a:zllm"])
def test_opening_to_add_changes_nothing_by_itself(name: Path, mode: str) -> None:
    before = name.read_bytes()
    with zllm.open(name, mode):
        pass
    assert name.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), (None,), ("",), (b"",), (None, "w"), ("", "w")])
def test_nothing_to_open(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="nothing to open"):
        zllm.open(*arguments)


def test_names_are_absolute_or_the_file_objects(name: Path) -> None:
    for given in (os.path.relpath(name), str(name), name):
        with zllm.open(given) as archive:
            assert archive.name == str(name)
    with zllm.open(os.fsencode(name)) as archive:
        assert archive.name == os.fsencode(name)
    with name.open("rb") as file:
        assert zllm.open(fileobj=file).name == str(name)
        file.seek(0)
        assert zllm.open("else", fileobj=file).name == os.path.abspath("else")
    with open(os.open(name, os.O_RDONLY), "rb") as file:
        assert zllm.open(fileobj=file).name is None  # its name is a number
    memory = io.BytesIO(name.read_bytes())
    assert zllm.open(fileobj=memory).name is None
    memory.name = ""  # type: ignore[attr-defined]
    memory.seek(0)
    assert zllm.open(fileobj=memory).name is None
    assert f"{str(name)!r} mode='r'" in repr(zllm.open(name))
    assert " closed " in repr(archive)


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_stream_keeps_no_members_on_any_python(name: Path, mode: str) -> None:
    with zllm.open(name, mode, stream=True) as archive:
        assert archive.stream
        for member in archive:
            assert archive.extractfile(member).read() == member.name.encode()
        assert archive.members == []
        assert archive.getnames() == []
    with zllm.open(name, mode, stream=False) as archive:
        assert archive.getnames() == ["a", "b", "c"]


def test_keywords_of_tarfile(name: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(name)
    with zllm.open(
        tmp_path / "k.zllm", "w", dereference=True, format=tarfile.GNU_FORMAT, errorlevel=2, debug=0
    ) as made:
        made.add(tmp_path / "link", arcname="link")
    with zllm.open(tmp_path / "k.zllm") as archive:
        assert archive.next().isreg()
    with zllm.open(tmp_path / "k.zllm", "w", encoding="latin-1", errors="strict", format=tarfile.USTAR_FORMAT) as made:
        add(made, "é")
    with zllm.open(tmp_path / "k.zllm", encoding="latin-1") as archive:
        assert archive.getnames() == ["é"]
    with zllm.open(tmp_path / "k.zllm", "w", pax_headers={"comment": "all of it"}) as made:
        add(made)
    with zllm.open(tmp_path / "k.zllm") as archive:
        assert archive.next().pax_headers["comment"] == archive.pax_headers["comment"] == "all of it"
    with zllm.open(name, tarinfo=tarfile.TarInfo) as archive:
        assert type(archive.next()) is tarfile.TarInfo
    with pytest.raises(TypeError, match="presett"):
        zllm.open(name, presett=9)


def test_unknown_keywords_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="fromat"):
        zllm.open(tmp_path / "n.zllm", "w", fromat=2)
    with pytest.raises(zllm.UsageError):
        zllm.open(tmp_path / "n.zllm", "w", compresslevel=0)
    assert os.listdir(tmp_path) == []


def test_compresslevel_is_the_level(tmp_path: Path) -> None:
    for keywords, level in (({"compresslevel": 1}, 1), ({"compresslevel": 3}, 3), ({"level": 2}, 2), ({}, 6)):
        with zllm.open(tmp_path / "c.zllm", "w", **keywords) as archive:
            add(archive)
        with zllm.open(tmp_path / "c.zllm", compresslevel=1) as archive:
            assert archive.manifest["level"] == level
    with pytest.raises(zllm.UsageError, match="level and compresslevel"):
        zllm.open(tmp_path / "c.zllm", "w", level=1, compresslevel=1)
    with pytest.raises(TypeError, match="frame_sise"):
        zllm.open(tmp_path / "c.zllm", "w", frame_sise=4096)
    assert sorted(os.listdir(tmp_path)) == ["c.zllm"]


def test_ignore_zeros_finds_what_is_behind(tmp_path: Path) -> None:
    from zllm.archive.options import WriteOptions
    from zllm.archive.writer import Writer

    info = tarfile.TarInfo("foo")
    info.size = 3
    member = info.tobuf() + b"abc" + bytes(509)
    for before in (bytes(1024), b"a" * 1024):
        with (tmp_path / "z.zllm").open("wb") as out:
            sink = Writer(out, WriteOptions(level=1))
            sink.write(before + member + bytes(1024) + member)
            sink.close()
        for mode in ("r", "r|"):
            with zllm.open(tmp_path / "z.zllm", mode, ignore_zeros=True) as archive:
                assert [archive.extractfile(found).read() for found in archive] == [b"abc", b"abc"]


def test_nothing_is_published_when_the_block_fails(name: Path, tmp_path: Path) -> None:
    before = name.read_bytes()
    for path in (name, tmp_path / "new.zllm"):
        with pytest.raises(ZeroDivisionError), zllm.ZllmFile(path, "w", level=1) as archive:
            add(archive)
            1 / 0  # noqa: B018
        assert archive.closed
    assert os.listdir(tmp_path) == [name.name]
    assert name.read_bytes() == before


def test_an_archive_that_is_never_closed_is_said(tmp_path: Path) -> None:
    archive = zllm.open(tmp_path / "n.zllm", "w", level=1)
    add(archive)
    with pytest.warns(ResourceWarning, match=r"n\.zllm.*was never closed"):
        del archive
        gc.collect()
    assert os.listdir(tmp_path) == []


class Refuses(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


def test_an_output_that_cannot_be_written_is_found_at_the_first_member() -> None:
    with pytest.raises(OSError, match="No space"):
        zllm.open(fileobj=Refuses(), mode="w", level=1, pax_headers={"comment": "x"})
    archive = zllm.open(fileobj=Refuses(), mode="w", level=1)
    with pytest.raises(OSError, match="No space"):
        add(archive)


def test_data_without_a_file_object_is_refused(tmp_path: Path) -> None:
    info = zllm.ZllmInfo("data")
    info.size = 5
    with zllm.open(tmp_path / "d.zllm", "w", level=1) as archive:
        with pytest.raises(ValueError, match="data: a file object is needed for its 5 bytes"):
            archive.addfile(info)
        add(archive)
    with zllm.open(tmp_path / "d.zllm") as archive:
        assert archive.getnames() == ["a"]


def test_habits_of_reading(name: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with zllm.open(name) as archive:
        with pytest.raises(KeyError):
            archive.getmember("zzz")
        pairs = [(one.name, two.name) for one, two in zip(archive, archive, strict=True)]
        assert pairs == [("a", "a"), ("b", "b"), ("c", "c")]
        for member in archive:
            archive.extract(member, tmp_path / "out")
        archive.list(verbose=False)
        with pytest.raises(OSError, match="mode 'r'"):
            archive.add(name)
    assert capsys.readouterr().out.split() == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "b", "c"]
    for use in (archive.getmembers, archive.next, archive.__enter__):
        with pytest.raises(OSError, match="closed"):
            use()


def test_habits_of_adding(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "f").write_bytes(b"1")
    (tmp_path / "d" / "sub" / "g").write_bytes(b"2")

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = 77
        return None if member.name.endswith("/f") else member

    with zllm.open(tmp_path / "t.zllm", "w", level=1) as archive:
        archive.add(tmp_path / "d", "flat", recursive=False)
        archive.add(str(tmp_path / "d"), arcname="all", filter=chosen)
        with (tmp_path / "d" / "f").open("rb") as file:
            archive.addfile(archive.gettarinfo(fileobj=file, arcname="by object"), file)
        archive.add(tmp_path / "t.zllm")  # itself, silently left out as in tarfile
    with zllm.open(tmp_path / "t.zllm") as archive:
        assert archive.getnames() == ["flat", "all", "all/sub", "all/sub/g", "by object"]
        assert archive.getmember("all").uid == 77


class Trickle(io.RawIOBase):
    """Gives a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(min(size, 1))

    def tell(self) -> int:
        return self.inner.tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return self.inner.seek(place, whence)


def test_is_zllmfile(name: Path, tmp_path: Path) -> None:
    data = name.read_bytes()
    for yes in (name, str(name), os.fsencode(name), io.BytesIO(data), Trickle(data)):
        assert zllm.is_zllmfile(yes)
    (tmp_path / "empty").touch()
    for no in (__file__, tmp_path / "empty", io.BytesIO(), io.BytesIO(data[:5]), Trickle(b"other data")):
        assert not zllm.is_zllmfile(no)
    with pytest.raises(FileNotFoundError):
        zllm.is_zllmfile(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        zllm.is_zllmfile(tmp_path)
    behind = io.BytesIO(b"#" * 100 + data)
    assert not zllm.is_zllmfile(behind)
    behind.seek(100)
    assert zllm.is_zllmfile(behind)
    assert behind.tell() == 100
