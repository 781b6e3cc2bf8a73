"""Files with holes: what is data, and the map before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zllm.archive import sparse


def holed(path: Path, size: int, data: dict[int, bytes]) -> Path:
    with open(path, "wb") as file:
        for place, text in data.items():
            file.seek(place)
            file.write(text)
        file.truncate(size)
    if path.stat().st_blocks * 512 >= size:
        pytest.skip("this file system has no sparse files")
    return path


def expanded(data: bytes, size: int) -> bytes:
    """What a reader makes of a map and its data, by the letter of the format."""
    lines, numbers, position = data.split(b"\n"), [], 0
    count = int(lines[0])
    numbers = [int(line) for line in lines[1 : 1 + 2 * count]]
    position = -(-sum(len(line) + 1 for line in lines[: 1 + 2 * count]) // 512) * 512
    result = bytearray(size)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        result[start : start + length] = data[position : position + length]
        position += length
    assert position == len(data)
    return bytes(result)


@pytest.mark.parametrize(
    ("size", "data"),
    [
        (1 << 20, {}), (1 << 20, {0: b"head"}), (1 << 20, {(1 << 20) - 4: b"tail"}),
        ((1 << 20) + 3, {1 << 19: b"x" * 9999}),
        (3 << 20, {place << 16: b"%d" % place for place in range(0, 48, 2)}),
    ],
    ids=["empty", "head", "tail", "middle", "many"],
)  # fmt: skip
@pytest.mark.parametrize("step", [100, 512, 1 << 20])
def test_map_and_data_are_the_file(size: int, data: dict[int, bytes], step: int, tmp_path: Path) -> None:
    path = holed(tmp_path / "s", size, data)
    with open(path, "rb", buffering=0) as file:
        pieces = sparse.pieces_of(file, os.fstat(file.fileno()))
        assert pieces is not None and file.tell() == 0
        reader = sparse.SparseReader(file, pieces)
        stored = b"".join(iter(lambda: reader.read(step), b""))
    assert len(stored) == reader.size < size
    assert expanded(stored, size) == path.read_bytes()
    assert pieces[-1][0] + pieces[-1][1] == size


def test_files_without_holes(tmp_path: Path) -> None:
    for data in (b"", b"x", os.urandom(100_000), bytes(100_000)):
        (tmp_path / "f").write_bytes(data)
        os.sync()
        with open(tmp_path / "f", "rb", buffering=0) as file:
            assert sparse.pieces_of(file, os.fstat(file.fileno())) is None


def test_more_pieces_than_anybody_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_MAX_PIECES", 16)
    data = {place * 8192: b"x" for place in range(100)} | {1 << 24: b"end"}
    path = holed(tmp_path / "s", 1 << 25, data)
    with open(path, "rb", buffering=0) as file:
        pieces = sparse.pieces_of(file, os.fstat(file.fileno()))
        assert pieces is not None and len(pieces) <= 18
        reader = sparse.SparseReader(file, pieces)
        assert expanded(b"".join(iter(lambda: reader.read(1 << 16), b"")), 1 << 25) == path.read_bytes()
    assert reader.size < 2 << 20  # the large hole stays one
