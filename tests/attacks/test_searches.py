"""Searches in damaged archives, of archives that make every step of them as dear as it can be."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import test_bombs
from attacks.bombs import SEED, Archive, empty_member, header, varint

import zllm
from zllm.archive.finding import Finder
from zllm.format import columns, directory, ends, envelope, frames, modelpart
from zllm.format.directory import Directory
from zllm.format.envelope import SYNC, Envelope, Kind
from zllm.format.frames import FrameRow
from zllm.format.section import ModelRef
from zllm.format.sectionmap import Group, Record, SectionMap

MEMBER = "bomb\n"
SECONDS = 5
"""Of the processor. Each takes a second or less here; they took from 6 to hundreds."""


def gaps(between: bytes) -> bytes:
    archive = Archive()
    for _ in range(2500):
        archive.section(empty_member())
        archive.data += between
    return archive.end()


def behind(garbage: bytes) -> bytes:
    return Archive().section(empty_member()).end() + b"x" + garbage


def within(garbage: bytes) -> bytes:
    return bytes(Archive().section(empty_member()).data) + b"x" + garbage


def front(kind: Kind, sequence: int, length: int) -> bytes:
    """An envelope that fits the archive: its body is not there, or another."""
    return Envelope(kind, sequence, length).pack(SEED)


def envelopes(kind: Kind, length: int, count: int = 20_000) -> bytes:
    """Envelopes of parts that reach far, one behind the other."""
    return b"".join(front(kind, 5 + number, length) for number in range(count))


def directories_in_each_other() -> bytes:
    """A thousand directories that share their text, 30,000 rows: each one's first model has the next in its name."""
    text = bytes(3) + varint(30_000) + b"".join(varint(1 << 20 | number) + b"\0\1\0" for number in range(30_000))
    packed = columns.deflate(text + b"\0\0{}")
    tail = varint(0) + varint(len(text) + 4) + varint(len(packed)) + packed
    for number in range(1000):
        whole = envelope.part(SEED, Kind.DIRECTORY, 2000 - number, tail)
        tail = bytes(38) + bytes([26]) + whole[:26] + bytes(1) + whole[26:]
    return within(tail)


def footers_between() -> bytes:
    """Behind every few sections, footers that belong to no directory."""
    archive = Archive()
    for number in range(2500):
        archive.section(empty_member())
        archive.data += b"x" + ((SYNC + b"\5") * 12_000 if number % 500 == 499 else b"")
    return archive.end()


def archives_joined() -> bytes:
    return Archive().section(empty_member()).end() * 6000


def archives_with_damaged_headers() -> bytes:
    """Behind each comes what may be a header, for a part follows it."""
    return (Archive().section(empty_member()).end() + b"sixteen bytes..." + SYNC + b"\1\0\0") * 3000


def directories_that_name_nothing() -> bytes:
    """One behind each section, all of the same archive."""
    archive = Archive()
    body = directory.pack(Directory([]))
    for _ in range(4000):
        archive.section(empty_member())
        archive.end(body)
    return bytes(archive.data)


@pytest.mark.parametrize(
    ("make", "members", "code"),
    [
        (lambda: gaps(b"x"), 2500, 3),
        (lambda: gaps(SYNC + b"\x80\x1f"), 2500, 3),
        (lambda: gaps(SYNC + b"\1\0"), 2500, 3),
        (lambda: behind((SYNC + b"\1") * 80_000), 1, 1),
        (lambda: behind((SYNC + b"\4") * 80_000), 1, 1),
        (lambda: behind(ends.FILE_MAGIC * 30_000), 1, 1),
        (lambda: within((SYNC + b"\4") * 80_000), 1, 3),
        (lambda: within((SYNC + b"\1") * 80_000), 1, 3),
        (lambda: within(envelopes(Kind.SECTION, 1 << 20)), 1, 3),
        (lambda: within(envelopes(Kind.DIRECTORY, 30)), 1, 3),
        (lambda: within(envelopes(Kind.FRAME, 100_000)), 1, 3),
        (lambda: within(envelopes(Kind.NOTE, 20)), 1, 3),
        (directories_in_each_other, 1, 3),
        (footers_between, 2500, 3),
        (archives_joined, 6000, 0),
        (archives_with_damaged_headers, 3000, 3),
        (directories_that_name_nothing, 4000, 3),
    ],
)  # fmt: skip
def test_all_members_are_found_in_time(
    make: Callable[[], bytes], members: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_bombs, "SECONDS", SECONDS)
    (tmp_path / "bomb.zllm").write_bytes(make())
    done = test_bombs.run(["list", "bomb.zllm"], tmp_path)
    assert (done.stdout.count(MEMBER), done.returncode) == (members, code), done.stderr


def test_thousands_of_damaged_copies_of_a_model(tmp_path: Path) -> None:
    archive = Archive()
    for number in range(3000):
        said = modelpart.ModelFile(bytes(32), 8, 8, modelpart.STORE)
        archive.part(Kind.MODEL, modelpart.pack_front(said) + number.to_bytes(8, "little"))
    payload = b"\0\0" + bytes(range(190))
    row = FrameRow(4000, len(payload), 3, 1, sha256=bytes(frames.HASH_SIZE))
    chart = SectionMap([Record(header(size=4000), 4000, 96, 0)], [Group(0, 1, [row])])
    archive.section(chart, [payload], models=(ModelRef(bytes(32), "m", 8, 1, bytes(4), embedded=True),))
    (tmp_path / "bomb.zllm").write_bytes(archive.end())
    done = test_bombs.run(["test", "bomb.zllm"], tmp_path)
    assert done.returncode == 3 and "the embedded model 'm'" in done.stderr, done.stderr


@pytest.mark.parametrize("pipe", [False, True])
def test_a_map_that_takes_two_headers_for_one(pipe: bool) -> None:
    """What is found instead begins at the same byte."""
    both = SectionMap([Record(header("first") + header("second"))], [])
    data = Archive().section(both).section(SectionMap([Record(header("third"))], [])).end()
    with zllm.open(mode="r|" if pipe else "r", fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["first", "second", "third"]


def test_a_header_that_makes_no_sense_before_damaged_data() -> None:
    """Looking for another one is not the end of the list."""
    wrong = Record(b"?" * 512, 600, 424, 0)
    row = FrameRow(600, 600, 0, sha256=bytes(frames.HASH_SIZE))
    data = Archive().section(SectionMap([Record(header("first")), wrong], [Group(0, 1, [row])]), [bytes(600)])
    data.section(SectionMap([Record(header("third"))], []))
    with zllm.open(fileobj=io.BytesIO(data.end())) as archive, pytest.raises(zllm.DamagedError):
        archive.getmembers()
    assert [member.name for member in archive.members] == ["first", "third"]


def test_a_header_that_is_due_where_a_pipe_has_passed() -> None:
    """Maps that do not fit each other lead there."""
    data = Archive().section(empty_member()).section(SectionMap([Record(header("second"))], [])).end()
    with zllm.open(mode="r|", fileobj=io.BytesIO(data)) as archive:
        view = archive.view
        assert view is not None and view.section_at(512) is not None
        view.seek(600)
        found = Finder(view).find(0)
        assert found is not None and found.name == "second"
        assert "has passed" in str(view.problem)


@pytest.mark.parametrize("pipe", [False, True])
def test_damage_is_told_rather_than_a_flag_of_a_newer_program(pipe: bool) -> None:
    """Readers come upon them in another order."""
    archive = Archive().section(empty_member(), packed=columns_that_do_not_fit())
    data = archive.end(flags=0x20)
    with pytest.raises(zllm.DamagedError, match="section map"):
        zllm.open(mode="r|" if pipe else "r", fileobj=io.BytesIO(data)).getmembers()


def columns_that_do_not_fit() -> tuple[bytes, int]:
    return columns.pack([b"x"]), 1
