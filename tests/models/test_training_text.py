"""What is trained on, and what is held out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("torch")

from zllm.errors import UsageError
from zllm.models.training import text


def lines(seed: int, count: int) -> bytes:
    rng = random.Random(seed)
    return b"".join(b"line %d says %d\n" % (number, rng.randrange(10**9)) for number in range(count))


def split(data: Path, work: Path, share: float = 0.05) -> tuple[text.Split, list[bytes], list[bytes]]:
    found = text.prepare(data, work, share, lambda _: None)
    train = (work / "text" / "train.txt").read_bytes()
    held = (work / "held-out" / "held-out.txt").read_bytes()
    return found, train.split(b"\0") if train else [], held.split(b"\0") if held else []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for number in range(60):
        (folder / "sub" / f"{number}.md").write_bytes(lines(number, 30 + number))
    return folder


def test_whole_documents_are_on_one_side(data: Path, tmp_path: Path) -> None:
    found, train, held = split(data, tmp_path / "work")
    everything = sorted(path.read_bytes() for path in data.rglob("*.md"))
    assert sorted(train + held) == everything
    assert (found.train_documents, found.held_out_documents) == (len(train), len(held))
    total = sum(map(len, everything))
    assert found.train_bytes + found.held_out_bytes == total
    assert 0.05 * total <= found.held_out_bytes < 0.1 * total


def test_the_split_depends_on_the_documents_alone(data: Path, tmp_path: Path) -> None:
    _, _, first = split(data, tmp_path / "one")
    for number, path in enumerate(sorted(data.rglob("*.md"))):
        path.rename(path.with_name(f"{100 - number}.txt"))
    _, _, second = split(data, tmp_path / "two")
    assert sorted(first) == sorted(second)


def test_copies_are_on_the_same_side(data: Path, tmp_path: Path) -> None:
    for path in sorted(data.rglob("*.md")):
        path.with_suffix(".copy").write_bytes(path.read_bytes())
    _, train, held = split(data, tmp_path / "work")
    assert held and not set(train) & set(held)
    assert len(held) == 2 * len(set(held))


def test_a_run_that_goes_on_keeps_its_split(data: Path, tmp_path: Path) -> None:
    first = split(data, tmp_path / "work")
    (data / "new.md").write_bytes(lines(99, 500))
    assert split(data, tmp_path / "work", share=0.2) == first


def test_what_is_text(data: Path, tmp_path: Path) -> None:
    for path in data.rglob("*.md"):
        path.unlink()
    (data / "many.txt").write_bytes(b"one\0two\0\0three\0")
    (data / "many.tsv").write_bytes(b"0\t3\tbooks\tx\n")
    (data / "table.tsv").write_bytes(b"a\tb\n")
    (data / "latin1.cfg").write_bytes("Überschrift".encode("latin-1"))
    (data / "picture").write_bytes(bytes(range(256)))
    (data / "empty.md").write_bytes(b"")
    (data / ".hidden.md").write_bytes(b"hidden")
    (data / ".git").mkdir()
    (data / ".git" / "x.md").write_bytes(b"hidden, too")
    (data / "link.md").symlink_to("table.tsv")
    found, train, held = split(data, tmp_path / "work", 0)
    assert (train, held) == ([b"\xdcberschrift", b"one", b"two", b"three", b"a\tb\n"], [])
    assert (found.files, found.held_out_bytes) == (3, 0)


def test_one_long_file_is_held_out_in_part(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    whole = lines(1, 40_000)
    (tmp_path / "data" / "log").write_bytes(whole)
    found, train, held = split(tmp_path / "data", tmp_path / "work")
    assert found.train_bytes + found.held_out_bytes == len(whole)
    assert 0.03 * len(whole) < found.held_out_bytes < 0.15 * len(whole)
    assert all(part.endswith(b"\n") and part in whole for part in (*train, *held))


def test_held_out_text_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(120):
        (tmp_path / "data" / f"{number}").write_bytes(lines(number, 3000))
    found, _, _ = split(tmp_path / "data", tmp_path / "work", 0.4)
    assert text.MAX_HELD_OUT <= found.held_out_bytes < 1.5 * text.MAX_HELD_OUT


def test_files_of_runs_are_no_text(data: Path) -> None:
    first, _, _ = split(data, data / "mine.run")
    second, _, _ = split(data, data / "other.run")
    assert first == second


def test_no_text(tmp_path: Path, data: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x").write_bytes(bytes(1000))
    with pytest.raises(UsageError, match="no training text"):
        split(tmp_path / "none", tmp_path / "work")
    with pytest.raises(UsageError, match="0 to 49%"):
        split(data, tmp_path / "work", 0.5)
    with pytest.raises(UsageError, match="0 to 49%"):
        split(data, tmp_path / "work", -0.1)


def test_a_single_document_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.txt").write_bytes(lines(1, 200))
    found, train, held = split(tmp_path / "data", tmp_path / "work")
    assert len(train) == 1 and held == [] and found.held_out_bytes == 0
