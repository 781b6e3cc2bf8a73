import os
import shutil

import pytest

from zllm.benchmark import rivals
from zllm.benchmark.runner import compare, measure
from zllm.benchmark.workload import by_category, snapshot
from zllm.errors import UsageError
from zllm.planner.categories import Category


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("some words and some more words\n" * 100)
    (root / "sub" / "b.json").write_text('{"a": [1, 2, 3], "b": "c"}\n' * 100)
    (root / "sub" / "noise").write_bytes(bytes(range(256)) * 4)
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("a.txt")
    (root / "hard").hardlink_to(root / "a.txt")
    return root


@pytest.fixture
def work(folder, tmp_path):
    return snapshot(folder, tmp_path / "all.tar")


def test_snapshot(work):
    assert work.files == 5
    assert work.raw == 2 * 3100 + 2700 + 1024
    assert work.source == work.tar


def test_single_file_is_given_to_rivals_as_it_is(folder, tmp_path):
    work = snapshot(folder / "a.txt", tmp_path / "one.tar")
    assert (work.files, work.raw, work.source) == (1, 3100, folder / "a.txt")


def test_by_category(work, tmp_path):
    parts = by_category(work, tmp_path)
    assert [(part.title, part.files, part.raw) for part in parts] == [
        (Category.TEXT.name.lower(), 2, 6200),
        (Category.STRUCTURED.name.lower(), 1, 2700),
        (Category.BINARY.name.lower(), 1, 1024),
    ]


@pytest.mark.parametrize("rival", rivals.installed()[0], ids=lambda rival: rival.name)
def test_every_rival_gives_back_what_went_in(rival, work, tmp_path):
    row = measure(work, rival, tmp_path)
    assert row.exact
    assert 50 < row.size < work.raw
    assert row.encode_seconds > 0
    assert not (tmp_path / "output").exists()
    assert not list(tmp_path.glob("coded*"))


def test_lpaq1_is_called_as_it_wants_to_be(work, tmp_path, monkeypatch):
    """It is seldom installed: one that copies stands in for it, with a mark in front."""
    tool = tmp_path / "bin" / "lpaq1"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase $1 in 9) { printf x; cat "$2"; } > "$3" ;; d) tail -c +2 "$2" > "$3" ;; *) exit 1 ;; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    found, notes = rivals.installed(["lpaq1 9"])
    assert not notes
    row = measure(work, found[0], tmp_path)
    assert (row.exact, row.size) == (True, work.source.stat().st_size + 1)


def test_a_wrong_decode_is_seen(work, tmp_path):
    class Wrong(rivals.Zstd):
        def unpack(self, source, folder):
            out = super().unpack(source, folder)
            out.write_bytes(out.read_bytes()[:-1] + b"x")
            return out

    assert not measure(work, Wrong(3), tmp_path).exact


def test_absent_tools_are_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found, notes = rivals.installed()
    assert [rival.name for rival in found] == ["zstd -3", "zstd -19", "xz -9e"]
    assert len(notes) == 4
    assert all("not installed" in note for note in notes)


def test_choice_of_rivals():
    found, notes = rivals.installed(["zstd -19"])
    assert [rival.name for rival in found] == ["zstd -19"]
    assert not notes
    with pytest.raises(UsageError, match="nonesuch"):
        rivals.installed(["nonesuch"])


def test_a_failing_rival_is_a_note(work, tmp_path):
    class Broken(rivals.Zstd):
        def pack(self, source, target):
            rivals._call("false")

    told = []
    section, failures = compare(work, [Broken(3), rivals.Zstd(3)], tmp_path, told.append)
    assert [row.name for row in section.rows] == ["zstd -3"]
    assert failures == ["all: false failed with exit code 1: no message"]
    assert told == ["all: zstd -3"] * 2


def test_same(tmp_path):
    one, other = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"a" * 100)
    other.write_bytes(b"a" * 101)
    assert not rivals.same(one, other)
    assert not rivals.same(other, one)
    assert rivals.same(one, one)
