"""append, update, delete, compact and what they leave: generations, as the command line shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zllm as package
from zllm.cli.main import main

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """d/a, its other name d/link, d/b, d/sub/x; and a.zllm with them."""
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/x"):
        (tmp_path / "d" / name).write_bytes(name.encode() * 5000)
    os.link(tmp_path / "d" / "a", tmp_path / "d" / "link")
    assert main(["create", "-2", "a.zllm", "d"]) == 0
    return tmp_path


def names(archive: str = "a.zllm", **options: Any) -> list[str]:
    with package.open(archive, **options) as found:
        result = found.getnames()
        assert not found.problems
        return result


def restored(folder: Path, into: str) -> None:
    """Extract a.zllm, and compare with the tree."""
    assert main(["extract", "a.zllm", "-C", into]) == 0
    subprocess.run(["diff", "-r", "--no-dereference", f"{into}/d", "d"], cwd=folder, check=True)
    subprocess.run(["tar", "-df", "-", "-C", "."], cwd=folder, check=True, input=tar(folder))


def tar(folder: Path) -> bytes:
    with open(folder / "stream.tar", "w+b") as out:
        subprocess.run([sys.executable, "-m", "zllm", "cat", "--tar", "a.zllm"], cwd=folder, check=True, stdout=out)
        out.seek(0)
        return out.read()


BASE = ["d", "d/a", "d/b", "d/link", "d/sub", "d/sub/x"]


def test_append(tree: Path, zllm: Run) -> None:
    (tree / "new").write_bytes(b"new")
    assert zllm("append", "a.zllm", "new").stderr == b""
    assert names() == [*BASE, "new"]
    zllm("append", "-v", "a.zllm", "d/b", "-C", "d", "b")
    assert names() == [*BASE, "new", "d/b", "b"]
    assert b"3 members" in zllm("extract", "-v", "a.zllm", "b", "d/b", "-C", "out").stderr
    assert names(generation=0) == BASE and names(generation=1) == [*BASE, "new"]


def test_append_makes_an_archive(tree: Path, zllm: Run) -> None:
    zllm("append", "-2", "new.zllm", "d")
    assert (tree / "new.zllm").read_bytes() == (tree / "a.zllm").read_bytes()
    (tree / "empty.zllm").touch()
    assert b"empty" in zllm("append", "-2", "empty.zllm", "d", code=2).stderr


def test_what_is_added_is_coded_as_the_rest(tree: Path, zllm: Run) -> None:
    zllm("append", "a.zllm", "d/b")
    rows = json.loads(zllm("list", "--json", "a.zllm").stdout)["members"]
    assert {codec for row in rows for codec in row["codecs"]} == {"zstd"}
    zllm("append", "-1", "a.zllm", "d/b")
    assert json.loads(zllm("list", "--json", "a.zllm").stdout)["members"][-1]["codecs"] == ["lz4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["append", "-", "d"], b"changed in its place: name a file"),
        (["append", "d", "a.zllm"], b"d is a folder"),
        (["append", "a.zllm", "nonesuch"], b"nothing was added"),
        (["append", "a.zllm", "a.zllm"], b"nothing to pack but the archive itself"),
        (["append", "a.zllm"], b"name the files and folders"),
        (["append", "d/b", "d/a"], b"not a zllm archive"),
        (["append", "nodir/a.zllm", "d"], b"nodir/a.zllm: No such file"),
        (["append", "-2", "--model", "fast", "a.zllm", "d"], b"--model has no effect at level 2"),
        (["append", "--model", "fast", "a.zllm", "d"], b"--model has no effect at level 2"),
        (["update", "none.zllm", "d"], b"none.zllm: No such file"),
        (["update", "-", "d"], b"changed in its place"),
        (["update", "a.zllm", "nonesuch"], b"nothing was changed"),
        (["delete", "a.zllm"], b"name the members to delete"),
        (["delete", "a.zllm", "d/a", "nonesuch"], b"nonesuch: no such member"),
        (["delete", "a.zllm", "x*"], b"x*"),
        (["delete", "-", "d"], b"changed in its place"),
        (["compact", "a.zllm", "b"], b"one name too many"),
        (["compact", "-"], b"changed in its place"),
        (["list", "--generation", "1", "a.zllm"], b"there is no generation 1: the archive has 1, from 0 to 0"),
        (["list", "--generation", "-1", "a.zllm"], b"not the number of a generation"),
        (["list", "--generations", "a.zllm", "d"], b"leave out the members"),
    ],
)
def test_what_cannot_be_done_changes_nothing(words: list[str], said: bytes, tree: Path, zllm: Run) -> None:
    before = (tree / "a.zllm").read_bytes()
    result = zllm(*words, code=2)
    assert said in result.stderr and result.stdout == b""
    assert (tree / "a.zllm").read_bytes() == before


def test_a_damaged_archive_is_not_changed(tree: Path, zllm: Run) -> None:
    data = bytearray((tree / "a.zllm").read_bytes())
    data[60] ^= 1
    data[70] ^= 1
    (tree / "a.zllm").write_bytes(data)
    for words in (
        ["append", "a.zllm", "d"],
        ["update", "a.zllm", "d"],
        ["delete", "a.zllm", "d/a"],
        ["compact", "a.zllm"],
    ):
        assert zllm(*words, code=None).returncode in (2, 3)
        assert (tree / "a.zllm").read_bytes() == data


def test_an_archive_of_a_raw_stream_is_not_changed(tree: Path, zllm: Run) -> None:
    (tree / "raw.zllm").write_bytes(zllm("-2", data=b"not a tar").stdout)
    for words in (["append", "raw.zllm", "d"], ["compact", "raw.zllm"]):
        assert b"raw stream" in zllm(*words, code=2).stderr


def test_only_one_at_a_time(tree: Path, zllm: Run) -> None:
    import fcntl

    with (tree / "a.zllm").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (
            ["append", "a.zllm", "d"],
            ["update", "a.zllm", "d"],
            ["delete", "a.zllm", "d"],
            ["compact", "a.zllm"],
        ):
            assert b"a.zllm is being changed by another process" in zllm(*words, code=2).stderr
        zllm("test", "a.zllm")


def test_a_read_only_archive(tree: Path, nobody: Run) -> None:
    (tree / "a.zllm").chmod(0o444)
    result = nobody("append", "a.zllm", "d", code=2)
    assert b"a.zllm: Permission denied" in result.stderr


# update


def test_update(tree: Path, zllm: Run) -> None:
    before = (tree / "a.zllm").read_bytes()
    assert b"nothing has changed" in zllm("update", "-v", "a.zllm", "d").stderr
    assert (tree / "a.zllm").read_bytes() == before
    (tree / "d" / "b").write_bytes(b"changed")
    (tree / "d" / "n").write_bytes(b"new")
    said = zllm("update", "-v", "a.zllm", "d").stderr
    assert b"1 added, 2 changed, 0 deleted" in said and b"generation 1" in said  # the folder's time, too
    assert sorted(names()) == sorted([*BASE, "d/n"])
    restored(tree, "out")
    assert names(generation=0) == BASE
    (tree / "d" / "n").unlink()
    assert b"0 added, 1 changed, 0 deleted" in zllm("update", "-v", "a.zllm", "d").stderr
    assert "d/n" in names()
    assert b"0 added, 0 changed, 1 deleted" in zllm("update", "-v", "--delete", "a.zllm", "d").stderr
    restored(tree, "again")


def test_update_by_content(tree: Path, zllm: Run) -> None:
    for name in ("a", "b", "sub/x"):
        os.utime(tree / "d" / name, (1, 1))
    assert b"nothing has changed" in zllm("update", "-v", "--hash", "a.zllm", "d").stderr
    state = os.stat(tree / "d" / "sub" / "x")
    (tree / "d" / "sub" / "x").write_bytes(b"SUB/x" * 5000)
    os.utime(tree / "d" / "sub" / "x", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert b"0 added, 1 changed" in zllm("update", "-v", "--hash", "a.zllm", "d").stderr
    assert b"0 added, 3 changed" in zllm("update", "-v", "a.zllm", "d").stderr
    (tree / "d" / "a").chmod(0o600)
    assert b"0 added, 2 changed" in zllm("update", "-v", "--hash", "a.zllm", "d").stderr
    restored(tree, "out")


@pytest.mark.parametrize("change", ["link stays", "target stays", "new link", "apart", "other file"])
def test_update_of_hard_links(change: str, tree: Path, zllm: Run) -> None:
    folder = tree / "d"
    if change == "link stays":
        (folder / "a").unlink()
    elif change == "target stays":
        (folder / "link").unlink()
    elif change == "new link":
        os.link(folder / "link", folder / "z")
    elif change == "apart":
        (folder / "link").unlink()
        (folder / "link").write_bytes((folder / "a").read_bytes())
    else:
        (folder / "a").unlink()
        (folder / "a").write_bytes(b"another file")
    zllm("update", "--delete", "a.zllm", "d")
    restored(tree, "out")
    ours, theirs = (tree / "out" / "d", folder)
    for one in os.listdir(theirs):
        assert os.stat(ours / one).st_nlink == os.stat(theirs / one).st_nlink or (theirs / one).is_dir()
    assert b"nothing has changed" in zllm("update", "-v", "--delete", "a.zllm", "d").stderr


def test_a_folder_that_became_a_file(tree: Path, zllm: Run) -> None:
    (tree / "d" / "sub" / "x").unlink()
    (tree / "d" / "sub").rmdir()
    (tree / "d" / "sub").write_bytes(b"a file now")
    zllm("update", "a.zllm", "d")
    restored(tree, "out")
    (tree / "d" / "sub").unlink()
    (tree / "d" / "sub").mkdir()
    zllm("update", "a.zllm", "d")
    restored(tree, "again")


def test_nothing_is_deleted_that_was_not_looked_for(tree: Path, zllm: Run) -> None:
    (tree / "d" / "b").unlink()
    (tree / "d" / "sub" / "x").unlink()
    zllm("update", "--delete", "a.zllm", "d/sub")
    assert sorted(names()) == sorted(set(BASE) - {"d/sub/x"})
    (tree / "d" / "skip").mkdir()
    zllm("update", "--delete", "--exclude", "b", "a.zllm", "d")
    assert "d/b" in names()
    result = zllm("update", "--delete", "a.zllm", "d", "nonesuch", code=1)
    assert b"nothing is deleted: not everything could be looked at" in result.stderr and "d/b" in names()
    zllm("update", "--delete", "a.zllm", "d")
    assert "d/b" not in names()


def test_a_folder_that_cannot_be_read_has_not_vanished(tree: Path, nobody: Run) -> None:
    for path in (tree / "a.zllm", tree / "d" / "sub", tree / "d", tree):
        os.chown(path, 65534, 65534)
    (tree / "d" / "sub").chmod(0)
    assert b"its contents are skipped" in nobody("update", "--delete", "a.zllm", "d", code=1).stderr
    assert "d/sub/x" in names()


# delete


def test_delete(tree: Path, zllm: Run) -> None:
    assert zllm("delete", "a.zllm", "d/sub").stderr == b""
    assert names() == BASE[:4]
    assert b"2 members deleted" in zllm("delete", "-v", "a.zllm", "d/[bl]*").stderr
    assert names() == ["d", "d/a"]
    zllm("delete", "a.zllm", "d", "--exclude", "a")
    assert names() == ["d/a"]
    zllm("delete", "a.zllm", "d")
    assert names() == [] and zllm("list", "a.zllm").stdout == b""
    assert b"no such member" in zllm("delete", "a.zllm", "d", code=2).stderr
    assert names(generation=0) == BASE
    zllm("test", "a.zllm")


def test_a_hard_link_keeps_its_data(tree: Path, zllm: Run) -> None:
    os.link(tree / "d" / "a", tree / "d" / "third")
    zllm("update", "a.zllm", "d")
    zllm("delete", "a.zllm", "d/a")
    (tree / "d" / "a").unlink()
    assert sorted(names()) == sorted(["d", "d/b", "d/sub", "d/sub/x", "d/link", "d/third"])
    restored(tree, "out")
    assert (tree / "out" / "d" / "link").stat().st_nlink == 2


# generations


def test_generations(tree: Path, zllm: Run) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "86400", "TZ": "UTC"}
    zllm("append", "a.zllm", "d/b", env=environment)
    zllm("delete", "a.zllm", "d/b", env=environment)
    lines = zllm("list", "--generations", "a.zllm", env=environment).stdout.decode().splitlines()
    assert [line.split()[:-1] for line in lines[1:]] == [
        ["0", "-", "6", "0"],
        ["1", "1970-01-02", "00:00:00", "1", "0"],
        ["2", "1970-01-02", "00:00:00", "0", "1"],
    ]
    rows = json.loads(zllm("list", "--generations", "--json", "a.zllm").stdout)["generations"]
    assert sum(one["bytes"] for one in rows) == (tree / "a.zllm").stat().st_size
    assert rows[1] == {"number": 1, "time": 86400, "members": 1, "deleted": 0, "bytes": rows[1]["bytes"]}
    data = (tree / "a.zllm").read_bytes()
    with subprocess.Popen(["cat", "a.zllm"], cwd=tree, stdout=subprocess.PIPE) as cat:
        assert (
            zllm("list", "--generations", "-", stdin=cat.stdout, env=environment).stdout.decode().splitlines() == lines
        )
    for number, expected in ((0, BASE), (1, [*BASE, "d/b"]), (2, [name for name in BASE if name != "d/b"])):
        shown = zllm("list", "--generation", str(number), "a.zllm").stdout.decode().split()
        assert [name.rstrip("/") for name in shown] == expected
        zllm("test", "--generation", str(number), "a.zllm")
        stream = zllm("cat", "--tar", "--generation", str(number), "a.zllm").stdout
        (tree / "s.tar").write_bytes(stream)
        with tarfile.open(tree / "s.tar") as found:
            assert found.getnames() == expected
    assert zllm("cat", "--generation", "0", "a.zllm", "d/b").stdout == b"b" * 5000
    assert (tree / "a.zllm").read_bytes() == data


def test_the_tar_stream_is_that_of_what_is_in_it(tree: Path, zllm: Run) -> None:
    (tree / "d" / "b").write_bytes(b"changed")
    zllm("update", "a.zllm", "d")
    zllm("delete", "a.zllm", "d/sub")
    for words in (["cat", "--tar", "a.zllm"], ["-d", "-o", "-", "a.zllm"]):
        (tree / "s.tar").write_bytes(zllm(*words).stdout)
        with tarfile.open(tree / "s.tar") as found:
            assert sorted(found.getnames()) == ["d", "d/a", "d/b", "d/link"]
            assert found.extractfile("d/b").read() == b"changed"  # type: ignore[union-attr]
    with (tree / "a.zllm").open("rb") as file:
        assert zllm("-d", stdin=file).stdout == (tree / "s.tar").read_bytes()
    with subprocess.Popen(["cat", "a.zllm"], cwd=tree, stdout=subprocess.PIPE) as cat:
        assert b"read the archive from a file" in zllm("-d", stdin=cat.stdout, code=2).stderr


# compact


def test_compact(tree: Path, zllm: Run) -> None:
    assert b"there is nothing to remove" in zllm("compact", "-v", "a.zllm").stderr
    (tree / "d" / "large").write_bytes(os.urandom(400_000))
    zllm("update", "a.zllm", "d")
    (tree / "d" / "large").write_bytes(b"now small")
    (tree / "d" / "a").unlink()
    zllm("update", "--delete", "a.zllm", "d")
    zllm("append", "a.zllm", "d/b")
    before = (tree / "a.zllm").stat().st_size
    mode = (tree / "a.zllm").stat().st_mode
    said = zllm("compact", "-v", "a.zllm").stderr
    assert b"7 members" not in said and b"sections copied" in said
    assert (tree / "a.zllm").stat().st_size < before - 400_000 and (tree / "a.zllm").stat().st_mode == mode
    assert len(names()) == len(set(names()))
    restored(tree, "out")
    zllm("test", "a.zllm")
    assert len(json.loads(zllm("list", "--generations", "--json", "a.zllm").stdout)["generations"]) == 1
    assert not list(tree.glob(".*"))


def test_compact_copies_what_stays(tree: Path, zllm: Run) -> None:
    (tree / "large").write_bytes(os.urandom(300_000))
    zllm("append", "a.zllm", "large")
    zllm("append", "a.zllm", "d/b")
    zllm("delete", "a.zllm", "d/b")
    said = zllm("compact", "-v", "a.zllm").stderr
    assert b"1 section copied, 5 members packed again" in said
    assert (tree / "a.zllm").read_bytes().count((tree / "large").read_bytes()[:200_000]) == 1


@pytest.mark.parametrize("level", [1, 5])
def test_compact_gives_members_over_several_sections_back(
    level: int, tree: Path, zllm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zllm.archive import builder

    monkeypatch.setattr(builder, "SECTION", 200_000)
    for number in range(4):
        (tree / "d" / f"large{number}").write_bytes(bytes(range(256)) * 2400 + b"%d" % number)
    assert main(["update", f"-{level}", "a.zllm", "d"]) == 0
    assert main(["delete", "a.zllm", "d/large1"]) == 0
    (tree / "d" / "large1").unlink()
    assert main(["update", "a.zllm", "d"]) == 0
    assert main(["compact", "a.zllm"]) == 0
    restored(tree, "out")
    assert main(["test", "a.zllm"]) == 0


def test_compact_keeps_embedded_models(tree: Path, zllm: Run, prose: bytes) -> None:
    for number in (0, 1):
        (tree / f"prose{number}").write_bytes(prose[number * 20_000 : (number + 1) * 20_000])
        zllm("append", "-8", "--model", "fast", "--embed-model", "m.zllm", f"prose{number}")
    zllm("append", "-1", "m.zllm", "d/b")
    zllm("delete", "m.zllm", "d/b")
    size = (tree / "m.zllm").stat().st_size
    zllm("compact", "m.zllm", "-1")
    assert size - 1000 < (tree / "m.zllm").stat().st_size < size
    assert json.loads(zllm("info", "--json", "m.zllm").stdout)["models"][0]["embedded"]
    assert zllm("cat", "m.zllm", "prose1").stdout == prose[20_000:40_000]


def test_the_tar_streams_of_archives_behind_each_other(tree: Path, zllm: Run) -> None:
    zllm("delete", "a.zllm", "d/b")
    one = zllm("cat", "--tar", "a.zllm").stdout
    (tree / "two.zllm").write_bytes((tree / "a.zllm").read_bytes() * 2)
    assert zllm("cat", "--tar", "two.zllm").stdout == one * 2
    assert names("two.zllm") == [name for name in BASE if name != "d/b"] * 2
