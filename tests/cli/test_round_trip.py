"""create, extract, list, test, cat and info on real folders, through real processes."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def state(root: Path) -> dict[str, object]:
    """Everything about a tree that a backup must give back."""
    result: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        time = round(status.st_mtime_ns / 1e5)  # pax headers have it as decimal text, rounded by tarfile
        result[str(path.relative_to(root))] = (status.st_mode, time, status.st_nlink, content)
    return result


@pytest.mark.parametrize("level", ["1", "3", "5", "6"])
def test_a_tree_comes_back(level: str, zllm: Run, tree: Path, tmp_path: Path) -> None:
    made = zllm("create", "a.zllm", "tree", "--level", level)
    assert made.stdout == made.stderr == b""
    assert zllm("test", "a.zllm").stderr == b""
    zllm("extract", "a.zllm", "-C", "out")
    folders = {path for path in tree.rglob("*") if path.is_dir()}
    assert state(tmp_path / "out" / "tree") == state(tree)
    for folder in folders:
        assert (tmp_path / "out" / folder.relative_to(tmp_path)).stat().st_mtime == folder.stat().st_mtime


def test_through_pipes(shell: Run, tree: Path, tmp_path: Path) -> None:
    shell("set -o pipefail; zllm create - tree | cat | zllm extract - -C out")
    assert state(tmp_path / "out" / "tree") == state(tree)
    listed = shell("set -o pipefail; zllm create - tree | zllm list -").stdout
    assert b"tree/every-byte" in listed
    assert shell("set -o pipefail; zllm create - tree | zllm test -").stderr == b""
    assert shell("zllm create - tree | zllm cat - tree/every-byte").stdout == (tree / "every-byte").read_bytes()


def test_odd_names(zllm: Run, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    deep = folder / ("d" * 150) / ("e" * 150)
    deep.mkdir(parents=True)
    names = [os.fsdecode(b"not \xff utf-8"), "new\nline", "-rf", "x" * 250, " spaces ", "*?[", "\\n"]
    for name in names:
        (folder / name).write_text(repr(name))
    (deep / "deep").write_text("deep")
    zllm("create", "a.zllm", "odd")
    assert b"new\\nline" in zllm("list", "a.zllm").stdout
    assert b"odd/not \xff utf-8\0" in zllm("list", "a.zllm", "--null").stdout
    zllm("extract", "a.zllm", "-C", "out")
    assert state(tmp_path / "out" / "odd") == state(folder)
    raw = os.fsencode("odd/" + names[0])
    assert zllm("cat", "a.zllm", raw).stdout == repr(names[0]).encode()


def test_folders_change_as_in_tar(zllm: Run, tmp_path: Path) -> None:
    for name in ("x/1", "y/2", "y/z/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    zllm("create", "a.zllm", "-C", "x", "1", "-C", "../y", "2", "-C", "z", "3")
    assert zllm("list", "a.zllm").stdout.split() == [b"1", b"2", b"3"]
    zllm("create", "-f", "b.zllm", "-C", "x", "1")
    zllm("-xf", "b.zllm", "-C", "out")
    assert (tmp_path / "out" / "1").read_text() == "x/1"


def test_what_is_left_out(zllm: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("every*\nlink\n")
    zllm("create", "a.zllm", "tree", "--exclude", "*.md", "--exclude", "empty/", "-X", "patterns")
    names = zllm("list", "a.zllm").stdout.decode()
    assert "read me.txt" in names
    assert not any(word in names for word in (".md", "empty", "every-byte", "link ->"))


def test_names_from_files(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "-C", "tree", "-T", "-", data=b"nothing\ncrlf.csv\n")
    assert zllm("list", "a.zllm").stdout.split() == [b"nothing", b"crlf.csv"]
    (tmp_path / "list").write_bytes(b"tree/docs/read me.txt\0tree/docs\0")
    zllm("create", "b.zllm", "-T", "list", "--null", "--no-recursion")
    assert zllm("list", "b.zllm", "--null").stdout == b"tree/docs/read me.txt\0tree/docs\0"


def test_reproducible(zllm: Run, tree: Path, tmp_path: Path) -> None:
    for name, threads in (("a", "1"), ("b", "3")):
        zllm("create", f"{name}.zllm", "tree", "--reproducible", "-j", threads)
    assert (tmp_path / "a.zllm").read_bytes() == (tmp_path / "b.zllm").read_bytes()
    members = json.loads(zllm("list", "--json", "a.zllm").stdout)["members"]
    assert {(m["uid"], m["gid"], m["uname"], m["gname"]) for m in members} == {(0, 0, "", "")}


def test_some_members(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")
    zllm("extract", "a.zllm", "tree/docs", "*.csv", "-C", "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"tree/docs/read me.txt", "tree/docs/ünïcode.md", "tree/crlf.csv"}
    result = zllm("extract", "a.zllm", "tree/nope", "tree/nothing", "-C", "out", code=2)
    assert result.stderr == b"zllm: tree/nope: no such member. zllm list shows what there is\n"
    assert (tmp_path / "out/tree/nothing").exists()


def test_a_hard_link_alone_gets_its_content(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")
    zllm("extract", "a.zllm", "tree/hard", "-C", "out")
    assert (tmp_path / "out/tree/hard").read_bytes() == (tree / "hard").read_bytes()


def test_existing_files(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree/nothing", "tree/every-byte")
    (tmp_path / "out/tree").mkdir(parents=True)
    (tmp_path / "out/tree/nothing").write_text("mine")
    result = zllm("extract", "-k", "a.zllm", "-C", "out", code=1)
    assert b"tree/nothing: exists and was kept" in result.stderr
    assert (tmp_path / "out/tree/nothing").read_text() == "mine"
    zllm("extract", "a.zllm", "-C", "out")
    assert (tmp_path / "out/tree/nothing").read_text() == ""


def test_list_json_and_table(zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", "tree", "--level", "5")
    document = json.loads(zllm("list", "--json", "a.zllm").stdout)
    members = {member["name"]: member for member in document["members"]}
    text = members["tree/docs/read me.txt"]
    assert text["size"] == (tree / "docs/read me.txt").stat().st_size
    assert 0 < text["coded_size"] < text["size"]
    assert text["codecs"] == ["cm"] and text["type"] == "file" and text["reason"]
    assert members["tree/link"]["linkname"] == "docs/read me.txt"
    assert {members[name]["type"] for name in ("tree", "tree/link")} == {"folder", "symlink"}
    assert sorted(m["type"] for n, m in members.items() if n in ("tree/crlf.csv", "tree/hard")) == ["file", "hardlink"]
    table = zllm("list", "-v", "a.zllm").stdout.decode()
    assert " cm " in table and text["reason"] in table and "bits/byte" in table and "-rwxr-x---" in table


def test_info(zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", "tree")
    facts = json.loads(zllm("info", "--json", "a.zllm").stdout)
    assert facts["members"] > 5 and facts["coded_size"] > 0
    said = zllm("info", "a.zllm").stdout.decode().splitlines()
    assert f"members: {facts['members']}" in said and "complete: yes" in said and "sections: 1" in said
    machine = json.loads(zllm("info", "--machine", "--json").stdout)
    assert machine["kernel"] in machine["kernels"] and "generic" in machine["kernels"]
    assert machine["kernels"]["generic"]["predictor"] == "generic"
    for kernel in machine["kernels"].values():
        assert kernel["predictor"] in machine["kernels"]
        assert kernel["self_check"] == "same integers as the scalar code"
        assert kernel["billion_multiply_adds_a_second"] > 0.01
    result = zllm("info", "--machine", code=2, env={**os.environ, "ZLLM_KERNEL": "abacus"})
    assert result.stderr.startswith(b"zllm: unknown kernel 'abacus'; usable here: ")


def test_cat_tar_is_the_tar_stream(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")
    (tmp_path / "a.tar").write_bytes(zllm("cat", "a.zllm", "--tar").stdout)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert "tree/every-byte" in archive.getnames()


def test_cat_keeps_the_given_order(zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", "tree")
    expected = (tree / "script.sh").read_bytes() + (tree / "every-byte").read_bytes()
    assert zllm("cat", "a.zllm", "tree/script.sh", "tree/every-byte").stdout == expected


def test_the_archive_does_not_pack_itself(zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", ".", cwd=tree)
    zllm("create", "--force", "a.zllm", ".", cwd=tree)
    names = zllm("list", "a.zllm", cwd=tree).stdout
    assert b"zllm" not in names and b"every-byte" in names


def test_special_files(zllm: Run, tmp_path: Path) -> None:
    folder = tmp_path / "special"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "file").write_text("x")
    zllm("create", "a.zllm", "special")  # a pipe is stored as a pipe, not read
    kinds = {m["name"]: m["type"] for m in json.loads(zllm("list", "--json", "a.zllm").stdout)["members"]}
    assert kinds["special/pipe"] == "fifo"
    zllm("extract", "a.zllm", "-C", "out")
    assert (tmp_path / "out/special/file").read_text() == "x"
    assert (tmp_path / "out/special/pipe").is_fifo()
    result = zllm("extract", "a.zllm", "-C", "data", "--filter", "data", code=2)
    assert result.stderr.count(b"\n") == 1 and b"leave out --filter data" in result.stderr
    assert (tmp_path / "data/special/file").read_text() == "x"
    assert not (tmp_path / "data/special/pipe").exists()


def test_extracting_what_is_not_there_makes_no_folder(zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "-1", "a.zllm", "tree")
    zllm("extract", "a.zllm", "nope", "-C", "new", code=2)
    assert not (tmp_path / "new").exists()
    zllm("extract", "a.zllm", "tree/every-byte", "-C", "new")
    assert (tmp_path / "new" / "tree" / "every-byte").exists()
