"""Extended attributes and access control lists: kept where that is asked for, as by GNU tar; else it is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zllm
from zllm.cli.extended import Extended
from zllm.extraction import attributes as attributes_module
from zllm.format import extended

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
ODD = bytes(range(256)) + b"\n= 12 x=y\n"
ACL = bytes.fromhex("02000000 01000600ffffffff 02000400fdff0000 04000400ffffffff 10000400ffffffff 20000400ffffffff")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "f").write_bytes(b"data")
    try:
        os.setxattr(folder / "f", "user.odd", ODD)
        os.setxattr(folder / "f", "user.empty", b"")
        os.setxattr(folder, "user.of.a.folder", b"yes")
        os.setxattr(folder / "f", "system.posix_acl_access", ACL)
        os.setxattr(folder, "system.posix_acl_default", ACL)
    except (OSError, AttributeError) as error:
        pytest.skip(f"no extended attributes here: {error}")
    return tmp_path


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "security.selinux"}


def test_both_come_back(tree: Path, zllm: Run) -> None:
    assert zllm("create", "-2", "--xattrs", "--acls", "a.zllm", "d").stderr == b""
    assert zllm("extract", "--xattrs", "--acls", "a.zllm", "-C", "out").stderr == b""
    for name in ("d", "d/f"):
        assert attributes(tree / "out" / name) == attributes(tree / name)
        assert (tree / "out" / name).stat().st_mode == (tree / name).stat().st_mode
    assert (tree / "out" / "d" / "f").stat().st_mtime_ns == (tree / "d" / "f").stat().st_mtime_ns


def test_either_alone(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "--xattrs", "--acls", "a.zllm", "d")
    zllm("extract", "--xattrs", "a.zllm", "-C", "x")
    assert set(attributes(tree / "x/d/f")) == {"user.odd", "user.empty"}
    assert b"--filter data and --acls contradict each other" in zllm(
        "extract", "--acls", "--filter", "data", "a.zllm", code=2).stderr  # fmt: skip
    zllm("extract", "--acls", "a.zllm", "-C", "y")
    assert attributes(tree / "y/d/f") == {"system.posix_acl_access": ACL}
    done = zllm("create", "-2", "--xattrs", "b.zllm", "d")
    assert b"d: access control lists are not packed: pass --acls\n" in done.stderr


def test_what_is_lost_is_said_once(tree: Path, zllm: Run) -> None:
    result = zllm("create", "-2", "a.zllm", "d")
    assert result.stderr.count(b"are not packed: pass --xattrs and --acls") == 1
    zllm("create", "-2", "--xattrs", "--acls", "b.zllm", "d")
    result = zllm("extract", "b.zllm", "-C", "out")
    assert result.stderr.count(b"are not restored: pass --xattrs and --acls") == 1
    assert attributes(tree / "out/d/f") == {}


def test_append_and_update(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "a.zllm", "d/f")
    (tree / "d" / "f").write_bytes(b"other data")
    zllm("update", "--xattrs", "a.zllm", "d/f")
    zllm("extract", "--xattrs", "a.zllm", "-C", "out")
    assert attributes(tree / "out/d/f")["user.odd"] == ODD


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar here")
def test_gnu_tar_reads_them_and_writes_them(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "--xattrs", "--acls", "a.zllm", "d")
    (tree / "x").mkdir()
    tar = zllm("cat", "--tar", "a.zllm").stdout
    subprocess.run(["tar", "--xattrs", "--acls", "-x", "-C", "x"], input=tar, cwd=tree, check=True)
    assert attributes(tree / "x/d/f") == attributes(tree / "d/f")
    assert attributes(tree / "x/d") == attributes(tree / "d")
    tar = subprocess.run(["tar", "--xattrs", "--acls", "-c", "d"], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    (tree / "b.zllm").write_bytes(zllm("-2", data=tar).stdout)
    zllm("extract", "--xattrs", "--acls", "b.zllm", "-C", "y")
    assert attributes(tree / "y/d/f") == attributes(tree / "d/f")
    assert attributes(tree / "y/d") == attributes(tree / "d")


@pytest.mark.skipif(shutil.which("bsdtar") is None, reason="no bsdtar here")
def test_bsdtar_reads_them(tree: Path, zllm: Run) -> None:
    zllm("create", "-2", "--xattrs", "--acls", "a.zllm", "d")
    (tree / "x").mkdir()
    command = ["bsdtar", "--xattrs", "--acls", "-x", "-f", "-", "-C", "x"]
    subprocess.run(command, input=zllm("cat", "--tar", "a.zllm").stdout, cwd=tree, check=True)
    assert attributes(tree / "x/d/f")["user.odd"] == ODD
    assert attributes(tree / "x/d/f")["system.posix_acl_access"] == ACL


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives capabilities")
def test_capabilities_outlive_the_new_owner(tree: Path, zllm: Run) -> None:
    os.chown(tree / "d" / "f", 1234, 1234)
    try:
        os.setxattr(tree / "d" / "f", "security.capability", CAPABILITY)
    except OSError as error:
        pytest.skip(f"no capabilities here: {error}")
    zllm("create", "-2", "--xattrs", "a.zllm", "d/f")
    zllm("extract", "--xattrs", "a.zllm", "-C", "x")
    assert attributes(tree / "x/d/f")["security.capability"] == CAPABILITY
    assert (tree / "x/d/f").stat().st_uid == 1234
    zllm("extract", "--xattrs", "--filter", "data", "a.zllm", "-C", "y")
    assert "security.capability" not in attributes(tree / "y/d/f")
    assert attributes(tree / "y/d/f")["user.odd"] == ODD


@pytest.mark.parametrize(
    ("record", "value", "said"),
    [
        ("SCHILY.acl.access", "nonsense", b"access control list could not be set: 'nonsense' is not an entry"),
        ("SCHILY.acl.access", "user::rw-,user:nosuchuser:r--", b"there is no user nosuchuser here"),
        ("SCHILY.xattr.nosuch.space", "x", b"extended attribute nosuch.space could not be set"),
        ("SCHILY.xattr.user.a\0b", "x", b"could not be set"),
    ],
)
def test_what_cannot_be_set_is_a_warning(tree: Path, zllm: Run, record: str, value: str, said: bytes) -> None:
    info = package_member("f", {record: value})
    write(tree / "a.zllm", info, b"data")
    result = zllm("extract", "--xattrs", "--acls", "a.zllm", "-C", "out", code=1)
    assert said in result.stderr
    assert (tree / "out" / "f").read_bytes() == b"data"


def package_member(name: str, records: dict[str, str]) -> zllm.ZllmInfo:
    info = zllm.ZllmInfo(name)
    info.pax_headers = records
    return info


def write(path: Path, info: zllm.ZllmInfo, data: bytes) -> None:
    import io

    info.size = len(data)
    with zllm.open(path, "w", level=1) as archive:
        archive.addfile(info, io.BytesIO(data))


def test_texts_of_lists() -> None:
    def number(name: str) -> int | None:
        return {"anna": 1000}.get(name)

    text = "user::rw-,user:65533:r--,group::r--,mask::r--,other::r--"
    assert extended.acl_text(ACL, lambda _: "", lambda _: "") == text
    assert extended.acl_value(text, number, number) == ACL
    assert extended.acl_value("u::rw-\nuser:gone:r--:65533\ng::r--,mask:r--,other:r--  # all", number, number) == ACL
    assert b"\xe8\x03\0\0" in extended.acl_value(
        "user::rwx,user:anna:rwx:7,group::---,mask::rwx,o::---", number, number
    )
    for wrong in ("user", "tag::r--", "user::rwz", "mask:anna:r--", "user:4294967295:r--", "user:²:r--"):
        with pytest.raises(ValueError):
            extended.acl_value(wrong, number, number)
    for value in (b"", b"\x02\0\0\0abc", b"\x01\0\0\0", b"\x02\0\0\0" + bytes(8)):
        with pytest.raises(ValueError):
            extended.acl_text(value, str, str)


@given(st.binary(max_size=99))
def test_every_value_comes_back(value: bytes) -> None:
    records = {extended.XATTR + "user.x": extended.text_of(value), "SCHILY.xattr.security.selinux": "label"}
    assert list(extended.attributes_of(records)) == [("user.x", value)]


def test_what_cannot_be_listed_is_said_and_the_file_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> list[str]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "listxattr", fail, raising=False)
    said: list[str] = []
    assert Extended(xattrs=True).of(0, said.append) == ({}, False)
    assert said == ["extended attributes: Input/output error"]
    assert Extended().of(0, said.append) == ({}, False) and len(said) == 1


@pytest.mark.parametrize("words", [["--filter", "tar"], ["--filter", "data"], ["--no-same-permissions"]])
def test_lists_are_permissions(tree: Path, zllm: Run, words: list[str]) -> None:
    zllm("create", "-2", "--acls", "--xattrs", "a.zllm", "d")
    assert b"and --acls contradict each other" in zllm("extract", "--acls", *words, "a.zllm", code=2).stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives capabilities")
def test_capabilities_are_for_the_owner_that_was_meant(tree: Path, zllm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        os.setxattr(tree / "d" / "f", "security.capability", CAPABILITY)
    except OSError as error:
        pytest.skip(f"no capabilities here: {error}")
    zllm("create", "-2", "--xattrs", "a.zllm", "d/f")
    zllm("extract", "--xattrs", "--filter", "tar", "a.zllm", "-C", "x")
    assert "security.capability" not in attributes(tree / "x/d/f")

    def fail(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fail)
    failed: list[str] = []
    made = attributes_module.Attributes(0o644, (1, 1), None, (("security.capability", lambda: CAPABILITY),))
    descriptor = os.open(tree / "x/d/f", os.O_RDONLY)
    attributes_module.to_descriptor(descriptor, made, lambda what, _: failed.append(what))
    os.close(descriptor)
    assert failed == ["owner"] and "security.capability" not in attributes(tree / "x/d/f")
