"""Parts of kinds that this program does not use, generations, and damage between parts: files and pipes agree."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import takeapart
from archive.stories import Pipe, run
from attacks.bombs import SEED, Archive, header
from attacks.test_damage import build

import zllm
from zllm.archive import builder
from zllm.format import directory, ends, envelope
from zllm.format.directory import Directory, OtherPart
from zllm.format.envelope import SEALED, SKIP, Envelope, Kind
from zllm.format.frames import FrameRow, hash_of
from zllm.format.sectionmap import Group, Record, SectionMap

MODES = pytest.mark.parametrize("mode", ["r", "r|"])
UNKNOWN = 99


def add(archive: Archive, name: str, data: bytes | None = None) -> Archive:
    """A section with one member."""
    data = f"data of {name}".encode() if data is None else data
    row = FrameRow(len(data), len(data), 0, sha256=hash_of(data))
    record = Record(header(name, len(data)), len(data), -len(data) % 512, 0)
    return archive.section(SectionMap([record], [Group(0, 1, [row])]), [data])


def with_parts(*parts: tuple[int, int], named: bool = True, damaged: bool = False) -> bytes:
    """Two sections with parts of these kinds and flags before, between and behind them."""
    archive, others = Archive(), []

    def put() -> None:
        for kind, flags in parts:
            others.append(OtherPart(len(archive.data), Envelope(kind, archive.sequence, 5, flags)))
            archive.part(kind, b"bytes", flags)
            if damaged:
                archive.data[-6] ^= 3

    put()
    add(archive, "a")
    put()
    add(archive, "b")
    put()
    return archive.end(directory.pack(Directory(archive.rows, others if named else [])))


def read(data: bytes, mode: str) -> tuple[dict[str, bytes], zllm.ZllmFile]:
    archive = zllm.open(fileobj=io.BytesIO(data) if mode == "r" else Pipe(data), mode=mode)
    found = {}
    try:
        for member in archive:
            found[member.name] = archive.extractfile(member).read()
    except zllm.ZllmError:
        assert archive.problems
    return found, archive


BOTH = {"a": b"data of a", "b": b"data of b"}


@MODES
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", [Kind.PARITY, Kind.NOTE, UNKNOWN, 0, 255])
def test_parts_that_may_be_skipped(kind: int, named: bool, mode: str) -> None:
    found, archive = read(with_parts((kind, SKIP), named=named), mode)
    assert found == BOTH and not archive.problems and not archive.warnings
    assert run("test", "-", data=with_parts((kind, SKIP)))[0] == 0


def test_the_directory_is_believed_with_other_parts() -> None:
    with zllm.open(fileobj=io.BytesIO(with_parts((Kind.NOTE, SKIP), (UNKNOWN, SKIP)))) as archive:
        assert archive.layout is not None and not archive.layout.walked and len(archive.layout.others) == 6
    with zllm.open(fileobj=io.BytesIO(with_parts((Kind.NOTE, SKIP), named=False))) as archive:
        assert archive.layout is not None and archive.layout.walked and len(archive.layout.others) == 3


@MODES
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("kind", "flags", "words"),
    [
        (UNKNOWN, 0, "parts of kind 99, which this version does not know"),
        (Kind.NOTE, 0, "parts of kind 8"),
        (UNKNOWN, 0x0E, "parts of kind 99"),
        (UNKNOWN, SKIP | 0x20, "features"),
        (Kind.NOTE, SKIP | SEALED, "encrypted"),
    ],
)
def test_parts_that_must_be_known(kind: int, flags: int, words: str, named: bool, mode: str) -> None:
    """What can be read is read."""
    found, archive = read(with_parts((kind, flags), named=named), mode)
    assert found == BOTH
    assert isinstance(archive.problem, zllm.UnsupportedVersionError) and words in str(archive.problem)
    assert archive.problem.exit_code == 2


@MODES
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("flags", [0, SKIP])
def test_keys_in_an_archive_that_is_not_encrypted(flags: int, named: bool, mode: str) -> None:
    found, archive = read(with_parts((Kind.NOTE, SKIP), (Kind.KEYS, flags), named=named), mode)
    assert found == BOTH
    assert isinstance(archive.problem, zllm.UnsupportedVersionError) and "no keys" in str(archive.problem)


@pytest.mark.parametrize("skip", [0, SKIP])
@MODES
def test_known_kinds_do_not_heed_skip(skip: int, mode: str) -> None:
    archive = Archive()
    archive.part(Kind.SECTION, b"\0\0", skip)
    found, opened = read(add(archive, "a").end(), mode)
    assert found == {"a": b"data of a"} and isinstance(opened.problem, zllm.DamagedError)


def test_a_sealed_archive(tmp_path: Path) -> None:
    """Keys first, then bodies that are ciphertext; keys and footer are not."""
    archive = Archive().part(Kind.KEYS, b"slots")
    archive.part(Kind.SECTION, b"ciphertext", SEALED).part(Kind.FRAME, b"ciphertext", SEALED)
    data = archive.end(b"ciphertext", SEALED)
    (tmp_path / "a.zllm").write_bytes(data)
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", data)):
        for words in (("list",), ("test",), ("extract", "-C", str(tmp_path / "out")), ("cat", "--tar")):
            code, out, text = run(*words, name, data=feed)
            assert (code, out) == (2, b"") and "the archive is encrypted" in text, (words, name, text)


@pytest.mark.parametrize("named", [True, False])
def test_damage_to_parts_that_nobody_uses_is_found_by_test(named: bool, tmp_path: Path) -> None:
    data = with_parts((Kind.NOTE, SKIP), named=named, damaged=True)
    (tmp_path / "a.zllm").write_bytes(data)
    for name, feed in ((str(tmp_path / "a.zllm"), None), ("-", data)):
        assert run("list", name, data=feed)[:2] == (0, b"a\nb\n")
        code, _, text = run("test", name, data=feed)
        assert code == 3 and "does not use" in text


# Generations


def generations(count: int, *, deleted: bytes | None = None) -> tuple[bytes, dict[str, bytes]]:
    """An archive to which members were appended."""
    archive, files, last = Archive(), {}, 0
    for number in range(count):
        archive.rows = []
        for name in (f"{number}", "again"):
            files[name] = f"{name} {number}".encode()
            add(archive, name, files[name])
        start = len(archive.data)
        gone = [deleted] if deleted is not None and number else []
        body = directory.pack(
            Directory(archive.rows, generation=number, back=start - last if number else 0, deleted=gone)
        )
        archive.end(body)
        last = start
    return bytes(archive.data), files


@MODES
def test_generations(mode: str) -> None:
    data, files = generations(3)
    found, archive = read(data, mode)
    assert found == files and archive.getnames() == ["0", "again", "1", "again", "2", "again"]
    assert not archive.problems and not archive.warnings
    if mode == "r":
        assert archive.layout is not None and not archive.layout.walked and len(archive.layout.directories) == 3


@MODES
def test_generations_and_another_archive(mode: str) -> None:
    data, _ = generations(2)
    other, _ = generations(3)
    found, archive = read(data + bytes(700) + other, mode)
    assert list(found) == ["0", "again", "1", "2"] and len(archive.getmembers()) == 10 and not archive.problems


@MODES
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_directory_of_a_generation_is_damaged(which: int, mode: str) -> None:
    data, files = generations(3)
    part = takeapart.of_kind(data, Kind.DIRECTORY)[which]
    bad = data[: part.body_at] + bytes(len(part.body)) + data[part.body_at + len(part.body) :]
    found, archive = read(bad, mode)
    assert found == files and isinstance(archive.problem, zllm.DamagedError)


@MODES
def test_an_archive_cut_behind_a_footer_is_that_generation(mode: str) -> None:
    data, _ = generations(3)
    footer = takeapart.of_kind(data, Kind.FOOTER)[1]
    found, archive = read(data[: footer.end], mode)
    assert list(found) == ["0", "again", "1"] and not archive.problems


def test_a_deleted_name_hides_members_of_earlier_generations() -> None:
    found, archive = read(generations(3, deleted=b"0")[0], "r")
    assert set(found) == {"again", "1", "2"} and not archive.problems
    found, archive = read(generations(3, deleted=b"again")[0], "r")
    assert found["again"] == b"again 2" and archive.getnames() == ["0", "1", "2", "again"]
    assert archive.getmember("again").offset == archive.getmembers()[-1].offset


def test_a_pipe_says_that_members_were_deleted() -> None:
    found, archive = read(generations(2, deleted=b"0")[0], "r|")
    assert "0" in found and isinstance(archive.problem, zllm.UnsupportedVersionError)
    assert "deleted" in str(archive.problem)
    found, archive = read(generations(2, deleted=b"again")[0], "r|")  # a newer one came before its directory
    assert found["again"] == b"again 1" and not archive.problems


@pytest.mark.parametrize("back", [1, 13, 60, 1 << 40])
def test_generations_that_lie(back: int) -> None:
    archive = add(Archive(), "a")
    archive.end()
    archive.rows = []
    add(archive, "b")
    data = archive.end(directory.pack(Directory(archive.rows, generation=1, back=back)))
    found, opened = read(data, "r")
    assert found == BOTH and opened.layout is not None and opened.layout.walked


# Damage


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {f"{number}": f"{number} text. ".encode() * 60 for number in range(8)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", 2048)
        return build(tmp_path_factory.mktemp("several") / "a.zllm", files)


def names(data: bytes, mode: str) -> list[str]:
    return list(read(data, mode)[0])


def test_a_pipe_that_loses_the_envelope_of_a_section_reads_the_ones_after_it(several: bytes) -> None:
    sections = takeapart.of_kind(several, Kind.SECTION)
    assert len(sections) >= 4
    for number in range(len(sections) - 1):
        part = sections[number]
        bad = several[: part.offset] + bytes(9) + several[part.offset + 9 :]
        assert names(bad, "r") == names(several, "r")  # the directory has the header, too
        lost = set(names(several, "r")) - set(names(bad, "r|"))
        assert 0 < len(lost) <= 2


@pytest.mark.parametrize("gap", [1, 7, 300])
def test_bytes_between_parts_cost_nothing(several: bytes, gap: int) -> None:
    for part in takeapart.parts(several):
        for between in (bytes(gap), b"\xb5Z\1" * gap):
            bad = several[: part.offset] + between + several[part.offset :]
            for mode in ("r", "r|"):
                found, archive = read(bad, mode)
                assert list(found) == names(several, "r"), (part, mode)
                assert isinstance(archive.problem, zllm.DamagedError)


@pytest.mark.parametrize("kind", [Kind.SECTION, Kind.FRAME, Kind.DIRECTORY, Kind.FOOTER])
def test_a_part_that_is_missing_is_found_out(several: bytes, kind: Kind) -> None:
    for part in takeapart.of_kind(several, kind):
        bad = several[: part.offset] + several[part.end :]
        for mode in ("r", "r|"):
            found, archive = read(bad, mode)
            assert isinstance(archive.problem, zllm.DamagedError), (part, mode)
            assert len(found) >= 5 or kind == Kind.FRAME


def test_a_section_that_the_directory_does_not_name_and_a_search_finds() -> None:
    archive = add(Archive(), "a")
    archive.data += b"x" * 50
    archive.rows = []
    data = add(archive, "b").end(directory.pack(Directory([])))
    for mode in ("r", "r|"):
        assert names(data, mode) == ["a", "b"]


@MODES
def test_an_archive_inside_a_damaged_archive(mode: str, tmp_path: Path, several: bytes) -> None:
    """Its parts are whole, and have another seed."""
    data = build(tmp_path / "outer.zllm", {"first": b"1" * 9000, "inner.zllm": several, "last": b"2"}, level=1)
    at = data.index(several[:100])
    bad = bytearray(data)
    first = takeapart.of_kind(data, Kind.SECTION)[0]
    bad[first.offset : first.offset + 9] = bytes(9)
    bad[at + 7] ^= 0xFF
    with pytest.raises(zllm.DamagedError, match="no part where one should be"):  # and no member is found
        read(bytes(bad), mode)


def test_the_same_input_gives_the_same_archive_and_id(tmp_path: Path) -> None:
    one, two = (build(tmp_path / name, {"a": b"text" * 9}) for name in ("1", "2"))
    other = build(tmp_path / "3", {"a": b"texT" * 9})
    assert one == two and one[10:14] != other[10:14]
    empty = build(tmp_path / "4", {})
    first = takeapart.parts(empty)[0]
    assert empty[10:14] == envelope.id_of(first.envelope.kind, first.body)


def test_a_frame_that_belongs_to_no_section_is_told() -> None:
    archive = add(Archive(), "a").part(Kind.FRAME, b"\0\0\1x")
    data = add(archive, "b").end()
    for mode in ("r", "r|"):
        found, opened = read(data, mode)
        assert found == BOTH and isinstance(opened.problem, zllm.DamagedError)


def test_a_footer_that_lies_is_found_out() -> None:
    archive = add(Archive(), "a")
    start = len(archive.data)
    archive.part(Kind.DIRECTORY, directory.pack(Directory(archive.rows)))
    archive.part(Kind.FOOTER, ends.pack_footer(len(archive.data) - start + 1))
    for mode in ("r", "r|"):
        found, opened = read(bytes(archive.data), mode)
        assert found == {"a": b"data of a"} and isinstance(opened.problem, zllm.DamagedError)


def test_seeds_differ() -> None:
    part = envelope.part(SEED, Kind.NOTE, 0, b"")
    assert envelope.holds(SEED, part) and not envelope.holds(SEED + 1, part)
    assert replace(envelope.parse(part, SEED), flags=SKIP).may_be_skipped
