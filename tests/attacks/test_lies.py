"""Archives whose checksums hold and whose parts lie about each other: where parts are, how long, and how many."""

from __future__ import annotations

import io
import random
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attacks import test_bombs
from attacks.bombs import MIB, SEED, Archive, directory_body, empty_member, header

import zllm
from zllm.archive import layout
from zllm.archive.layout import FileSource
from zllm.archive.pipe import Feed
from zllm.format import columns, directory, envelope, modelpart, repair, section, sectionmap
from zllm.format.directory import Directory
from zllm.format.envelope import Envelope, Kind
from zllm.format.found import SectionPart
from zllm.format.frames import FrameRow
from zllm.format.names import NameFilter
from zllm.format.parts import Walk
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.sectionmap import Group, Record, SectionMap
from zllm.format.wire import varints

SECONDS = 5
"""Of the processor. Each takes a second or less here."""
SKIP = envelope.SKIP


def varint(value: int) -> bytes:
    return varints([value])


def text(rows: bytes = b"", row_count: int = 0, others: bytes = b"", other_count: int = 0) -> bytes:
    """The body of a first directory."""
    return directory_body(bytes(3) + varint(row_count) + rows + varint(other_count) + others + b"\0{}")


def note_over_the_end() -> bytes:
    """A part that is as long as all that follows, a directory in it, and a section behind both."""
    archive = Archive()
    note = Envelope(Kind.NOTE, 0, 5000, SKIP)
    offset = len(archive.data)
    archive.data += note.pack(SEED)
    archive.sequence = 1
    row = varint(offset + note.whole) + b"\1\1" + varint(50) + bytes(2)
    row += section.pack_facts(SectionHeader(0, 512, 100)) + b"\0"
    other = bytes((Kind.NOTE, SKIP)) + varint(offset) + b"\0" + varint(note.length)
    return archive.end(text(row, 1, other, 1))


def long_note(length: int) -> bytes:
    archive = Archive().section(empty_member())
    archive.data += Envelope(Kind.NOTE, archive.sequence, length, SKIP).pack(SEED) + bytes(100)
    return bytes(archive.data)


def model_far_away() -> bytes:
    """A directory that has a model where no file reaches."""
    archive = Archive().section(empty_member())
    other = bytes((Kind.MODEL, 0)) + varint((1 << 62) - 1) + b"\1" + varint(100)
    return archive.end(text(varint(archive.rows[0].offset) + b"\0\1\0", 1, other, 1))


@pytest.mark.parametrize("command", ["list", "test", "info"])
@pytest.mark.parametrize(
    "make",
    [
        note_over_the_end,
        lambda: long_note((1 << 62) - 1),
        lambda: long_note(1 << 61),
        lambda: long_note(1 << 40),
        model_far_away,
    ],
)  # fmt: skip
def test_parts_that_reach_farther_than_the_file(make: Callable[[], bytes], command: str, tmp_path: Path) -> None:
    """They took an index out of its range, a seek beyond what files can have, and all memory."""
    (tmp_path / "lie.zllm").write_bytes(make())
    done = test_bombs.run([command, "lie.zllm"], tmp_path)
    lost = make is not model_far_away  # readers compare sections
    assert done.returncode == (3 if lost else 0), (done.returncode, done.stderr)
    assert command != "list" or make is note_over_the_end or done.stdout == "bomb\n"


def one_frame(payload_size: int, size: int = 1) -> tuple[bytes, int, int]:
    """The map of a member whose one frame claims so many bytes: coded, unpacked, and of the stream."""
    row = FrameRow(size, payload_size, 0, sha256=bytes(8))
    chart = SectionMap([Record(header(size=size), size, -size % 512, 0)], [Group(0, 1, [row])])
    return *sectionmap.encode(chart, continued=False, continues=False), chart.size()


def frames_far_ahead() -> bytes:
    """Sections of a hundred bytes, each with a frame of 60 MiB that is not there, before 16 MiB."""
    archive = Archive()
    blob, columns_size, size = one_frame(60 * MIB)
    for _ in range(4000):
        archive.part(Kind.SECTION, section.pack(SectionHeader(archive.stream, size, columns_size)) + blob)
        archive.sequence += 1
        archive.stream += size
    archive.part(Kind.NOTE, bytes(16 * MIB), SKIP)
    return archive.end()


def models_and_directories() -> bytes:
    """Thousands of both: none names any."""
    archive = Archive().section(empty_member())
    for number in range(8000):
        said = modelpart.ModelFile(number.to_bytes(32, "little"), 8, 8, modelpart.STORE)
        archive.part(Kind.MODEL, modelpart.pack_front(said) + bytes(8))
    body = directory.pack(Directory([]))
    for _ in range(8000):
        archive.end(body)
    return bytes(archive.data)


def directory_of_millions() -> bytes:
    """2,000,000 parts in 160 KB, within what a directory may unpack to."""
    said = bytes(3) + b"\0" + varint(2_000_000) + (bytes((Kind.NOTE, SKIP)) + b"\x10\1\1") * 2_000_000 + b"\0{}"
    packed, models, rng = columns.deflate(said), bytearray(), random.Random(1)
    count = len(said) // 64 // 500
    for _ in range(count):
        section.pack_model(models, ModelRef(rng.randbytes(32), "x" * 255, 1, 1, bytes(4), "y" * 255))
    body = varint(count) + bytes(models) + varint(len(said)) + varint(len(packed)) + packed
    return Archive().section(empty_member()).end(body)


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(
    ("make", "members"), [(frames_far_ahead, 4000), (models_and_directories, 1), (directory_of_millions, 1)]
)
def test_work_is_in_proportion(
    make: Callable[[], bytes], members: int, pipe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_bombs, "SECONDS", SECONDS)
    path = tmp_path / "lie.zllm"
    path.write_bytes(make())
    words = ["list", "-"] if pipe else ["list", "lie.zllm"]
    done = test_bombs.run(words, tmp_path, path if pipe else None)
    assert (done.stdout.count("bomb\n"), done.returncode) == (members, 3), done.stderr


def sections(count: int) -> Archive:
    archive = Archive()
    for number in range(count):
        archive.section(SectionMap([Record(header(f"member {number}"))], []))
    return archive


@pytest.mark.parametrize("pipe", [False, True])
def test_a_walk_lets_go_of_maps(pipe: bool) -> None:
    """All maps together take as much memory as the archive has members."""
    file = io.BytesIO(sections(20).end())
    walk = Walk(Feed(file) if pipe else FileSource(file, 0), repair.Budget())
    maps = [weakref.ref(part.map) for part in walk.parts() if isinstance(part, SectionPart)]
    assert len(maps) == 20 and walk.problem is None
    assert sum(found() is not None for found in maps) <= 1


def test_maps_that_were_read_for_a_layout_are_not_kept() -> None:
    """A directory need not have the headers of sections, and every map may have one wrong byte."""
    archive = sections(20)
    bare = b"".join(varint(row.offset) + varint(row.sequence) + b"\1\0" for row in archive.rows)
    data = archive.end(text(bare, 20))
    found = layout.find(io.BytesIO(data))
    assert not found.walked and len(found.rows) == 20 and sum(row.map is not None for row in found.rows) == 1
    bad = bytearray(data)
    for row in archive.rows:
        bad[row.offset + row.envelope.whole - 8] ^= 1
    found = layout.find(io.BytesIO(bad))
    assert len(found.rows) == 20 and all(row.map is None and row.corrected for row in found.rows)
    with zllm.open(fileobj=io.BytesIO(bad)) as opened, pytest.raises(zllm.DamagedError, match="one byte was wrong"):
        opened.getmembers()
    assert len(opened.members) == 20


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize("claimed", [0, 2])
def test_a_directory_with_another_number_of_members(mode: Any, claimed: int) -> None:
    archive = sections(3)
    archive.rows = [replace(row, members=claimed) for row in archive.rows]
    with zllm.open(mode=mode, fileobj=io.BytesIO(archive.end())) as opened:
        with pytest.raises(zllm.DamagedError, match="other sections than there are"):
            opened.getmembers()
        assert len(opened.members) == 3


def test_payloads_that_are_longer_than_any_section() -> None:
    """A reader of a pipe would take them all into memory, and look behind them for what follows."""
    rows = [FrameRow(1, 60 * MIB, 0, sha256=bytes(8))] * 2
    chart = SectionMap([Record(header(size=2), 2, 510, 0)], [Group(0, 1, rows)])
    blob, size = sectionmap.encode(chart, continued=False, continues=False)
    with pytest.raises(zllm.DamagedError, match="impossible size of a frame"):
        sectionmap.decode(blob, SectionHeader(0, chart.size(), size))


@pytest.mark.parametrize("wrong", [False, True])
def test_a_filter_that_denies_a_name(wrong: bool, tmp_path: Path) -> None:
    """Members are found all the same, for all maps are read where no filter has the name; testing tells of it."""
    archive = sections(3)
    names = [NameFilter.of([f"member {number}"], SEED) for number in range(3)]
    names[1] = NameFilter(b"\0", SEED) if wrong else names[1]
    archive.rows = [replace(row, names=bits) for row, bits in zip(archive.rows, names, strict=True)]
    (tmp_path / "lie.zllm").write_bytes(archive.end())
    with zllm.open(tmp_path / "lie.zllm") as opened:
        assert opened.getmember("member 1").name == "member 1"
    done = test_bombs.run(["test", "lie.zllm"], tmp_path)
    assert (done.returncode, "denies names" in done.stderr) == ((3, True) if wrong else (0, False)), done.stderr
