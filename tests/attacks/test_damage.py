"""Hostile and damaged archives, named by what they break: the right error, nothing wrong left on disk, rest saved."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import zllm
from zllm.archive import layout
from zllm.format import ends, frames, section

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
    (row,) = layout.find(io.BytesIO(good)).rows
    start = row.offset + row.header_size
    frames = start + row.header.map_size
    footer = len(good) - ends.FOOTER_SIZE
    return {
        "file header": (0, ends.FILE_HEADER_SIZE),
        "section header": (row.offset, start),
        "map": (start, frames),
        "frame header": (frames, frames + 8),
        "frame payload": (frames + 16, frames + 60),
        "index": (footer - ends.index_size(good[footer:]), footer),
        "footer": (footer, len(good)),
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
    "part", ["file header", "section header", "map", "frame header", "frame payload", "index", "footer"]
)
def test_one_bit_flipped(good: bytes, places: dict[str, tuple[int, int]], tmp_path: Path, part: str, mode: str) -> None:
    start, end = places[part]
    rng = random.Random(part)
    for turn in range(12):
        data = bytearray(good)
        at = rng.randrange(start, end)
        data[at] ^= 1 << rng.randrange(8)
        found, error, warnings = check(bytes(data), tmp_path / str(turn), mode)
        if part == "section header" and mode == "r":
            assert len(found) == len(members())  # the index has it, too
        else:
            assert error is not None or warnings, f"bit in byte {at} went unnoticed"
        if part in ("index", "footer"):
            assert len(found) == len(members())  # losing the index costs no file
        if part.startswith("frame"):
            assert "noise.bin" in found  # a flip costs one frame


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_one_wrong_byte_in_a_section_header_is_corrected(tmp_path: Path, mode: str) -> None:
    """That of a small section is not repeated in the index."""
    files = {"doc.txt": TEXT}
    good = build(tmp_path / "small.zllm", files)
    (row,) = layout.find(io.BytesIO(good)).rows
    for at in range(row.offset, row.offset + row.header_size):
        for change in (8, 0x55):
            bad = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
            found, error, _ = extract(bad, tmp_path / f"{at}-{change}", mode)
            assert found == files and isinstance(error, zllm.DamagedError), at


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_two_wrong_bytes_in_a_section_header_cost_the_section(tmp_path: Path, mode: str) -> None:
    good = build(tmp_path / "small.zllm", {"doc.txt": TEXT})
    (row,) = layout.find(io.BytesIO(good)).rows
    bad = bytearray(good)
    bad[row.offset + 5] ^= 1
    bad[row.offset + 15] ^= 1
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


def test_no_bit_of_the_index_costs_a_file(good: bytes, places: dict[str, tuple[int, int]]) -> None:
    for at in range(places["index"][0], len(good)):
        for bit in range(8):
            data = bytearray(good)
            data[at] ^= 1 << bit
            names = []
            # Whether the end is damaged or missing cannot always be told; every member is there all the same.
            with zllm.open(fileobj=io.BytesIO(bytes(data))) as archive, contextlib.suppress(zllm.DamagedError):
                for member in archive:
                    names.append(member.name)
            assert names == list(members()), (at, bit)


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_truncated_anywhere(good: bytes, tmp_path: Path, mode: str) -> None:
    rng = random.Random(3)
    cuts = [0, 1, 8, 11, 12, 13, 60, *(rng.randrange(len(good)) for _ in range(25)), len(good) - 1]
    for turn, cut in enumerate(cuts):
        _, error, _ = check(good[:cut], tmp_path / str(turn), mode)
        assert isinstance(error, zllm.ZllmError), cut
        assert error.exit_code in (2, 3)
        if cut > 12:
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
    """The section header with another number in it and a checksum that holds."""
    (row,) = layout.find(io.BytesIO(good)).rows
    from dataclasses import replace

    values = {
        "frames 2^28": {"frames_size": 1 << 28},
        "map 2^27": {"map_raw_size": 1 << 27},
        "stream 2^26": {"stream_size": 1 << 26},
        "no map": {"map_size": 0},
    }
    header = section.pack(replace(row.header, **values[change]))
    return good[: row.offset] + header + good[row.offset + row.header_size :]


@pytest.mark.parametrize("change", ["frames 2^28", "map 2^27", "stream 2^26", "no map"])
@pytest.mark.parametrize("mode", ["r", "r|"])
def test_sizes_that_lie(good: bytes, tmp_path: Path, change: str, mode: str) -> None:
    data = _resealed(good, change)
    cut = data[: -ends.FOOTER_SIZE - 1]  # without the index, so that the section header is what counts
    _, error, _ = check(cut, tmp_path / "out", mode)
    assert isinstance(error, zllm.DamagedError)


def test_unknown_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive by a program with one codec more: members that do not need it come out."""
    from zllm.codecs.zstd import ZstdCodec

    files = {"a.bin": random.Random(1).randbytes(1000), "b.txt": TEXT * 9000}
    with monkeypatch.context() as patch:
        patch.setattr(ZstdCodec, "id", 200)
        data = build(tmp_path / "new.zllm", files)
    (tmp_path / "new.zllm").write_bytes(data)
    with zllm.open(tmp_path / "new.zllm") as archive, pytest.raises(zllm.MissingCodecError, match="200") as caught:
        archive.extractall(tmp_path / "out")
    assert caught.value.exit_code == 4
    assert sorted(os.listdir(tmp_path / "out")) == ["a.bin"]


def test_unsupported_version_and_feature(good: bytes) -> None:
    from zllm.format.wire import checksum64

    for at, value in ((8, 99), (9, 0x20)):
        head = bytearray(good[:10])
        head[at] = value
        head += (checksum64(bytes(head)) & 0xFFFF).to_bytes(2, "little")
        with pytest.raises(zllm.UnsupportedVersionError):
            zllm.open(fileobj=io.BytesIO(bytes(head) + good[12:]))


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
    assert "checksum" in done.stderr
    assert "noise.bin" in os.listdir(tmp_path / "out")
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".part")]
