"""Hostile and damaged archives, named by what they break: the right error, nothing wrong left on disk, rest saved."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import takeapart

import zllm
from zllm.format import ends, frames, section
from zllm.format.envelope import Kind
from zllm.format.wire import checksum

TEXT = b"All happy families are alike; every unhappy family is unhappy in its own way. "


def members() -> dict[str, bytes]:
    rng = random.Random(9)
    files = {f"doc{i}.txt": TEXT * (3 + i) + str(rng.random()).encode() for i in range(6)}
    files["noise.bin"] = rng.randbytes(300_000)
    files["zeros.bin"] = bytes(700_000)
    return files


def build(path: Path, files: dict[str, bytes], **options: object) -> bytes:
    with zllm.open(path, "w", **{"level": 2, **options}) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path.read_bytes()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("good") / "good.zllm", members())


@pytest.fixture(scope="module")
def places(good: bytes) -> dict[str, tuple[int, int]]:
    """(start, end) of every part."""
    parts = {Kind(part.envelope.kind): part for part in reversed(takeapart.parts(good))}
    found, frame = parts[Kind.SECTION], parts[Kind.FRAME]
    _, at = section.read(found.body)
    return {
        "file header": (0, ends.HEADER_SIZE),
        "section header": (found.offset, found.body_at + at),
        "map": (found.body_at + at, found.end),
        "frame header": (frame.offset, frame.body_at + 3),
        "frame payload": (frame.body_at + 8, frame.body_at + 50),
        "directory": (parts[Kind.DIRECTORY].offset, parts[Kind.DIRECTORY].end),
        "footer": (parts[Kind.FOOTER].offset, len(good)),
    }


def extract(data: bytes, folder: Path, mode: str) -> tuple[dict[str, bytes], BaseException | None, list[str]]:
    """(what is on disk, what was raised, the warnings)."""
    folder.mkdir()
    error: BaseException | None = None
    warnings: list[str] = []
    try:
        archive = zllm.open(fileobj=io.BytesIO(data), mode=mode)
        try:
            archive.extractall(folder)
        finally:
            warnings = archive.warnings
    except Exception as exc:
        error = exc
    return {path.name: path.read_bytes() for path in folder.iterdir()}, error, warnings


def check(data: bytes, folder: Path, mode: str) -> tuple[dict[str, bytes], BaseException | None, list[str]]:
    """Whatever is on disk is right, and if something is missing an error said so."""
    found, error, warnings = extract(data, folder, mode)
    files = members()
    for name, content in found.items():
        assert files[name] == content, name
    if len(found) < len(files):
        assert isinstance(error, zllm.ZllmError), error
    return found, error, warnings


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize(
    "part", ["file header", "section header", "map", "frame header", "frame payload", "directory", "footer"]
)
def test_one_bit_flipped(good: bytes, places: dict[str, tuple[int, int]], tmp_path: Path, part: str, mode: str) -> None:
    start, end = places[part]
    rng = random.Random(part)
    for turn in range(12):
        data = bytearray(good)
        at = rng.randrange(start, end)
        data[at] ^= 1 << rng.randrange(8)
        found, error, warnings = check(bytes(data), tmp_path / str(turn), mode)
        assert error is not None or warnings, f"bit in byte {at} went unnoticed"
        if part != "frame payload":
            assert len(found) == len(members()), at  # wrong bits of all else are corrected, or said elsewhere, too
        assert "noise.bin" in found  # a flip costs one frame


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_one_wrong_byte_in_a_section_header_is_corrected(tmp_path: Path, mode: str) -> None:
    """That of a small section is not in the directory once more."""
    files = {"doc.txt": TEXT}
    good = build(tmp_path / "small.zllm", files)
    (part,) = takeapart.of_kind(good, Kind.SECTION)
    for at in range(part.offset, part.body_at + section.read(part.body)[1]):
        for change in (8, 0x55):
            bad = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
            found, error, _ = extract(bad, tmp_path / f"{at}-{change}", mode)
            assert found == files and isinstance(error, zllm.DamagedError), at


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_two_wrong_bytes_in_a_section_header_cost_the_section(tmp_path: Path, mode: str) -> None:
    good = build(tmp_path / "small.zllm", {"doc.txt": TEXT})
    (part,) = takeapart.of_kind(good, Kind.SECTION)
    bad = bytearray(good)
    bad[part.body_at] ^= 1
    bad[part.body_at + 15] ^= 1
    found, error, _ = extract(bytes(bad), tmp_path / "out", mode)
    assert not found and isinstance(error, zllm.DamagedError)


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_one_wrong_byte_in_a_map_is_corrected(
    good: bytes, places: dict[str, tuple[int, int]], tmp_path: Path, mode: str
) -> None:
    start, end = places["map"]
    for at in (start, start + 1, (start + end) // 2, end - 1):
        for change in (1, 0x80, 0x55):
            bad = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
            found, error, _ = extract(bad, tmp_path / f"{at}-{change}", mode)
            assert found == members()
            assert isinstance(error, zllm.DamagedError) and "corrected" in str(error)


def test_small_members_that_decode_to_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no SHA-256 of their own: that of their frame's data tells."""
    files = {"a.txt": TEXT, "b.txt": TEXT * 2, "large.txt": TEXT * 400}
    with monkeypatch.context() as patch:
        patch.setattr(frames, "hash_of", lambda data: bytes(frames.HASH_SIZE))
        data = build(tmp_path / "bad.zllm", files)
    with zllm.open(fileobj=io.BytesIO(data)) as archive, pytest.raises(zllm.DamagedError, match="another SHA-256"):
        archive.extractall(tmp_path / "out")


def test_no_bit_of_the_end_costs_a_file(good: bytes, places: dict[str, tuple[int, int]]) -> None:
    for at in range(places["directory"][0], len(good)):
        for bit in range(8):
            data = bytearray(good)
            data[at] ^= 1 << bit
            for mode in ("r", "r|"):
                names = []
                with zllm.open(fileobj=io.BytesIO(bytes(data)), mode=mode) as archive:
                    with contextlib.suppress(zllm.DamagedError):
                        for member in archive:
                            names.append(member.name)
                    assert isinstance(archive.problem, zllm.DamagedError), (at, bit)
                assert names == list(members()), (at, bit)


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize("size", [2, 7, 16])
def test_a_header_that_is_overwritten(good: bytes, size: int, mode: str, tmp_path: Path) -> None:
    """The id of the archive is made out from its first section."""
    for at in range(ends.HEADER_SIZE - size + 1):
        bad = good[:at] + random.Random(at).randbytes(size) + good[at + size :]
        found, error, _ = check(bad, tmp_path / str(at), mode)
        assert found == members() and isinstance(error, zllm.DamagedError), at


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_truncated_anywhere(good: bytes, tmp_path: Path, mode: str) -> None:
    rng = random.Random(3)
    boundaries = [0, 1, 8, 11, 15, 16, 17, 60, *(rng.randrange(len(good)) for _ in range(25)), len(good) - 1]
    for turn, cut in enumerate(boundaries):
        _, error, _ = check(good[:cut], tmp_path / str(turn), mode)
        assert isinstance(error, zllm.ZllmError), cut
        assert error.exit_code in (2, 3)
        if cut > ends.HEADER_SIZE:
            assert isinstance(error, zllm.DamagedError)


def test_a_cut_archive_gives_back_whole_members(good: bytes, tmp_path: Path) -> None:
    found, error, _ = check(good[: len(good) - 5000], tmp_path / "out", "r|")
    assert isinstance(error, zllm.DamagedError)
    assert {f"doc{i}.txt" for i in range(6)} <= set(found)


def test_not_an_archive(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04 something", bytes(5000), os.urandom(3000)):
        for mode in ("r", "r|"):
            with pytest.raises(zllm.NotZllmError):
                zllm.open(fileobj=io.BytesIO(data), mode=mode)


def test_junk_never_crashes(good: bytes, tmp_path: Path) -> None:
    rng = random.Random(11)
    for turn in range(40):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 30)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(0, 40))
        check(bytes(data), tmp_path / str(turn), rng.choice(["r", "r|"]))


def _resealed(good: bytes, change: str) -> bytes:
    """The section with another number in its header and a checksum that holds."""

    def body(old: bytes) -> bytes:
        header, at = section.read(old)
        values = {"map 2^27": {"columns_size": 1 << 27}, "stream 2^26": {"stream_size": 1 << 26}, "no map": {}}
        return section.pack(replace(header, **values[change])) + (b"" if change == "no map" else old[at:])

    return takeapart.changed(good, Kind.SECTION, body)


@pytest.mark.parametrize("change", ["map 2^27", "stream 2^26", "no map"])
@pytest.mark.parametrize("mode", ["r", "r|"])
def test_sizes_that_lie(good: bytes, tmp_path: Path, change: str, mode: str) -> None:
    data = _resealed(good, change)
    cut = data[: -takeapart.of_kind(good, Kind.FOOTER)[0].envelope.whole - 1]  # without a directory: the section counts
    _, error, _ = check(cut, tmp_path / "out", mode)
    assert isinstance(error, zllm.DamagedError)


def test_unknown_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive by a program with one codec more: members that do not need it come out."""
    from zllm.codecs.zstd import ZstdCodec

    files = {"a.bin": random.Random(1).randbytes(1000), "b.txt": TEXT * 9000}
    with monkeypatch.context() as patch:
        patch.setattr(ZstdCodec, "id", 200)
        data = build(tmp_path / "new.zllm", files, verify=False)
    (tmp_path / "new.zllm").write_bytes(data)
    with zllm.open(tmp_path / "new.zllm") as archive, pytest.raises(zllm.MissingCodecError, match="200") as caught:
        archive.extractall(tmp_path / "out")
    assert caught.value.exit_code == 4
    assert sorted(os.listdir(tmp_path / "out")) == ["a.bin"]


def test_unsupported_version_and_feature(good: bytes) -> None:
    for at, value in ((8, 99), (9, 0x20)):
        head = bytearray(good[: ends.HEADER_SIZE - 2])
        head[at] = value
        head += checksum(2, head)
        with pytest.raises(zllm.UnsupportedVersionError):
            zllm.open(fileobj=io.BytesIO(bytes(head) + good[ends.HEADER_SIZE :]))


def test_command_line_on_damage(good: bytes, places: dict[str, tuple[int, int]], tmp_path: Path) -> None:
    data = bytearray(good)
    data[places["frame payload"][0]] ^= 4
    (tmp_path / "bad.zllm").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "zllm", "extract", "bad.zllm", "-C", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "corrected" in done.stderr
    assert len(os.listdir(tmp_path / "out")) == len(members())
    data[places["frame payload"][0] + 30] ^= 4
    (tmp_path / "bad.zllm").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "zllm", "extract", "bad.zllm", "-C", "out2"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "checksum" in done.stderr
    assert "noise.bin" in os.listdir(tmp_path / "out2")
    assert not [name for name in os.listdir(tmp_path / "out2") if name.endswith(".part")]


KINDS = {"cm": {"level": 5, "llm": False}, "llm": {"level": 8}, "embedded": {"level": 8, "embed_model": True}}


@pytest.fixture(scope="module", params=KINDS)
def coded(request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Coded:
    """An archive of texts, and of bytes that are not one, by one codec."""
    prose = (checkout / "docs" / "zllm-format.md").read_bytes()
    files = {"a.txt": prose[:3000], "b.txt": prose[3000:9000], "noise.bin": random.Random(2).randbytes(5000)}
    folder = tmp_path_factory.mktemp(request.param)
    options = {"model": "fast", **KINDS[request.param]} if request.param != "cm" else KINDS["cm"]
    data = build(folder / "a.zllm", files, threads=1, **options)
    with zllm.open(fileobj=io.BytesIO(data)) as archive:
        codecs = set(archive.getmember("b.txt").codecs)
    assert codecs == {"cm" if request.param == "cm" else "llm"}
    assert bool(takeapart.of_kind(data, Kind.MODEL)) == (request.param == "embedded")
    return data, files


Coded = tuple[bytes, dict[str, bytes]]


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_damage_to_coded_texts(coded: Coded, mode: str, tmp_path: Path) -> None:
    """Flips in every part: what comes out is right, what does not is told, and a part costs no more than its own."""
    data, files = coded
    rng = random.Random(mode)
    for number, part in enumerate(takeapart.parts(data)):
        for turn, (start, end) in enumerate([(part.offset, part.body_at), (part.body_at, part.end)]):
            bad = bytearray(data)
            at = rng.randrange(start, end)
            bad[at] ^= 1 << rng.randrange(8)
            found, error, warnings = extract(bytes(bad), tmp_path / f"{number}-{turn}", mode)
            assert all(files[name] == content for name, content in found.items()), (at, part.envelope)
            assert isinstance(error, zllm.DamagedError) or warnings, (at, part.envelope)
            assert "noise.bin" in found or part.envelope.kind == Kind.FRAME
            if turn == 0 or part.envelope.kind not in (Kind.FRAME, Kind.MODEL):
                assert found == files, (at, part.envelope)


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_cuts_of_coded_texts(coded: Coded, mode: str, tmp_path: Path) -> None:
    data, files = coded
    rng = random.Random(mode)
    ends_of_parts = [part.end for part in takeapart.parts(data)[:-1]]
    for number, cut in enumerate([*ends_of_parts, *(rng.randrange(ends.HEADER_SIZE, len(data)) for _ in range(4))]):
        found, error, _ = extract(data[:cut], tmp_path / str(number), mode)
        assert all(files[name] == content for name, content in found.items())
        assert isinstance(error, zllm.DamagedError), cut


def test_a_payload_that_is_another_one(coded: Coded, tmp_path: Path) -> None:
    """Every checksum holds: the hash of the data tells, or the codec does."""
    data, files = coded
    for which, part in enumerate(takeapart.of_kind(data, Kind.FRAME)):
        if part.body[0] not in (3, 4):
            continue
        for turn in range(6):
            rng = random.Random(turn)

            def other(body: bytes, rng: random.Random = rng) -> bytes:
                at = rng.randrange(len(body) // 2, len(body) - 8)
                return body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :]

            bad = takeapart.changed(data, Kind.FRAME, other, which)
            for mode in ("r", "r|"):
                found, error, _ = extract(bad, tmp_path / f"{which}-{turn}-{mode.strip('|')}{len(mode)}", mode)
                assert all(files[name] == content for name, content in found.items())
                assert isinstance(error, zllm.DamagedError) and set(found) != set(files)
