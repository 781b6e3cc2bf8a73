"""Archives in tarfile's and shutil's own functions: the scenarios of their tests in CPython."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import zllm


@pytest.fixture
def registered() -> Iterator[None]:
    zllm.register_tarfile()
    zllm.register_tarfile()
    yield
    del tarfile.TarFile.OPEN_METH["zllm"]  # type: ignore[attr-defined]
    del tarfile.TarFile.zllmopen  # type: ignore[attr-defined]


@pytest.fixture
def formats() -> Iterator[None]:
    zllm.register_shutil(level=3)
    yield
    shutil.unregister_archive_format("zllm")
    shutil.unregister_unpack_format("zllm")


def same(one: Path, other: Path) -> bool:
    def facts(top: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in top.rglob("*"):
            what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(top))] = (what, None if path.is_symlink() else path.stat().st_mode)
        return found

    return facts(one) == facts(other)


def test_without_a_call_tarfile_knows_nothing(tree: Path) -> None:
    with pytest.raises(tarfile.CompressionError, match="zllm"):
        tarfile.open("a.zllm", "w:zllm").close()  # type: ignore[call-overload]


@pytest.mark.usefixtures("registered")
def test_tarfile_opens_archives(tree: Path, tmp_path: Path) -> None:
    with tarfile.open("a.zllm", "w:zllm", level=3, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        assert type(archive) is zllm.ZllmFile
        archive.add("tree")
    assert zllm.is_zllmfile("a.zllm")
    for mode in ("r", "r:*", "r:zllm"):
        with tarfile.open("a.zllm", mode) as archive:  # type: ignore[call-overload]
            assert "tree/every-byte" in archive.getnames()
            archive.extractall(mode[-1], filter="fully_trusted")
        assert same(tree, tmp_path / mode[-1] / "tree")
    with open("a.zllm", "rb") as file, tarfile.open(fileobj=file) as archive:
        assert "tree" in archive.getnames()
    with pytest.raises(FileExistsError):
        tarfile.open("a.zllm", "x:zllm").close()  # type: ignore[call-overload]
    assert tarfile.is_tarfile("a.zllm")


@pytest.mark.usefixtures("registered")
def test_tarfile_adds_to_archives(tree: Path) -> None:
    for name in ("one", "two"):
        Path(name).write_text(name)
        with tarfile.open("a.zllm", "a:zllm") as archive:  # type: ignore[call-overload]
            archive.add(name)
    with tarfile.open("a.zllm") as archive:
        assert archive.getnames() == ["one", "two"]


@pytest.mark.usefixtures("registered")
def test_other_formats_are_as_they_were(tree: Path) -> None:
    for mode in ("w", "w:gz", "w:xz"):
        with tarfile.open("t", mode) as archive:  # type: ignore[call-overload]
            archive.add("tree")
        with tarfile.open("t") as archive:
            assert type(archive) is tarfile.TarFile and "tree" in archive.getnames()
        with pytest.raises(tarfile.ReadError, match="not a zllm archive"):
            tarfile.open("t", "r:zllm").close()  # type: ignore[call-overload]
    Path("t").write_bytes(b"no archive at all")
    with pytest.raises(tarfile.ReadError):
        tarfile.open("t").close()
    Path("t").write_bytes(zllm.compress(b"no tar", 1))
    with pytest.raises(tarfile.ReadError):
        tarfile.open("t").close()
    assert not tarfile.is_tarfile("t")
    with pytest.raises(zllm.OtherFormatError):
        zllm.ZllmFile.open("t", "r:gz")


@pytest.mark.usefixtures("registered")
def test_subclasses(tree: Path) -> None:
    class Mine(tarfile.TarFile):
        pass

    class Ours(zllm.ZllmFile):
        pass

    with Ours.open("a.zllm", "w:zllm") as archive:
        archive.add("tree/empty" if Path("tree/empty").exists() else "tree")
        assert type(archive) is Ours
    assert type(Ours.open("a.zllm", "r")) is Ours
    with Mine.open("a.zllm") as archive:
        assert type(archive) is zllm.ZllmFile


@pytest.mark.usefixtures("formats")
def test_shutil_makes_and_unpacks(tree: Path, tmp_path: Path) -> None:
    assert ("zllm", "zllm archive") in shutil.get_archive_formats()
    name = shutil.make_archive("made", "zllm", str(tmp_path), "tree")
    assert Path(name).name == "made.zllm" and Path(name).exists()
    with zllm.open("made.zllm") as archive:
        assert archive.manifest["level"] == 3
        assert set(archive.getnames()) == {str(p.relative_to(tmp_path)) for p in [tree, *tree.rglob("*")]}
    shutil.unpack_archive("made.zllm", "out")
    assert same(tree, tmp_path / "out" / "tree")
    shutil.unpack_archive(Path("made.zllm"), "again", "zllm")
    assert same(tree, tmp_path / "again" / "tree")


@pytest.mark.usefixtures("formats")
def test_shutil_with_the_folders_that_there_are(tree: Path, tmp_path: Path) -> None:
    """root_dir and base_dir, as test_shutil has them; the current folder stays."""
    here = os.getcwd()
    shutil.make_archive(str(tmp_path / "new" / "a"), "zllm", root_dir="tree")
    shutil.make_archive("b", "zllm", base_dir="tree")
    assert os.getcwd() == here
    with zllm.open("new/a.zllm") as archive:
        assert archive.getnames()[0] == "." and "./every-byte" in archive.getnames()
    with zllm.open("b.zllm") as archive:
        assert "tree/every-byte" in archive.getnames()
    assert Path(shutil.make_archive("c", "zllm", "tree", dry_run=True)).name == "c.zllm"
    assert not Path("c.zllm").exists()


@pytest.mark.usefixtures("formats")
def test_shutil_with_owners(tree: Path) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    shutil.make_archive("a", "zllm", "tree", owner=name)
    with zllm.open("a.zllm") as archive:
        assert {(one.uid, one.uname) for one in archive} == {(os.getuid(), name)}
    with pytest.raises((LookupError, ValueError)):
        shutil.make_archive("b", "zllm", "tree", owner="no_such_user")
    assert not Path("b.zllm").exists()


@pytest.mark.usefixtures("formats")
def test_shutil_refuses_what_is_no_archive(tmp_path: Path) -> None:
    for name, data in (("a.zllm", b"no archive"), ("b.zllm", zllm.compress(b"no tar", 1))):
        Path(name).write_bytes(data)
        with pytest.raises(shutil.ReadError, match=name):
            shutil.unpack_archive(name, "out")
    assert not Path("out").exists()
    with pytest.raises(ValueError, match="level"):
        zllm.register_shutil(level=10)
    with pytest.raises(TypeError):
        zllm.register_shutil(levle=3)


@pytest.mark.usefixtures("formats")
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    with zllm.open("evil.zllm", "w", level=1) as archive:
        info = zllm.ZllmInfo("../evil")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(tarfile.TarError):
        shutil.unpack_archive("evil.zllm", "out")
    assert not (tmp_path / "evil").exists()
