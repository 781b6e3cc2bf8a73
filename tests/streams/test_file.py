"""One compressed stream as a file, as CPython's tests have it of gzip, lzma and zstd."""

from __future__ import annotations

import copy
import io
import os
import pathlib
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import zllm

LINES = [b"line %d of the text, which is a bit longer\n" % number for number in range(3000)]
DATA = b"".join(LINES)


@cache
def packed() -> bytes:
    return zllm.compress(DATA, level=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data.zllm").write_bytes(packed())
    return tmp_path / "data.zllm"


class Pipe(io.BytesIO):
    """What can be read once."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    tell = seek  # type: ignore[assignment]


class OnlyRead:
    """The least that a source has."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


@pytest.mark.parametrize("name", [str, os.fsencode, pathlib.Path])
def test_names(name: Callable[[Path], object], path: Path) -> None:
    with zllm.ZllmStream(name(path)) as file:  # type: ignore[arg-type]
        assert file.name == os.fspath(name(path))  # type: ignore[call-overload]
        assert file.mode == "rb" and not file.closed
        assert file.read() == DATA and file.read() == b""
    assert file.closed
    path.unlink()
    with zllm.ZllmStream(name(path), "w", level=3) as file:  # type: ignore[arg-type]
        assert file.mode == "wb"
        assert file.write(DATA) == len(DATA)
        assert not path.exists(), "it gets its name when it is whole"
    assert path.read_bytes() == packed()


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe, OnlyRead])
def test_file_objects(kind: Callable[[bytes], object]) -> None:
    with zllm.ZllmStream(kind(packed())) as file:  # type: ignore[arg-type]
        assert not hasattr(file, "name")
        assert file.read(10) == DATA[:10] and file.tell() == 10
        assert file.read() == DATA[10:]
    source = io.BytesIO(packed())
    zllm.ZllmStream(source).close()
    assert not source.closed
    target = io.BytesIO()
    with zllm.ZllmStream(target, "w", level=3) as file:
        file.write(DATA)
    assert target.getvalue() == packed()


def test_from_the_position_of_a_file_object() -> None:
    source = io.BytesIO(b"front" + packed())
    source.seek(5)
    assert zllm.ZllmStream(source).read() == DATA


@pytest.mark.parametrize("size", [1, 10, 1000, 1 << 20])
def test_reads_of_any_size(size: int) -> None:
    data = DATA[: 2000 * size]
    with zllm.ZllmStream(Pipe(zllm.compress(data, 1))) as file:
        pieces = []
        while piece := file.read(size):
            assert len(piece) == size or file.peek() == b""
            pieces.append(piece)
    assert b"".join(pieces) == data


def test_other_ways_to_read(path: Path) -> None:
    with zllm.ZllmStream(path) as file:
        assert len(file.peek()) > 0 and file.tell() == 0
        first = file.read1()
        assert DATA.startswith(first) and first
        assert file.read1(5) == DATA[len(first) : len(first) + 5]
        buffer = bytearray(100)
        at = file.tell()
        assert file.readinto(buffer) == 100 and buffer == DATA[at : at + 100]
        assert 0 < file.readinto1(memoryview(buffer)) <= 100
        assert file.read(0) == b""
        assert file.read(None) == DATA[at + 200 :]
        assert file.read1() == file.peek() == b""


def test_lines(path: Path) -> None:
    with zllm.ZllmStream(path) as file:
        assert file.readline() == LINES[0]
        assert file.readline(4) == LINES[1][:4] and file.readline() == LINES[1][4:]
        assert next(file) == LINES[2]
        assert list(file) == LINES[3:]
    with zllm.ZllmStream(path) as file:
        assert file.readlines() == LINES
    with zllm.ZllmStream(io.BytesIO(), "w") as file:
        file.writelines(LINES[:3])
        assert file.tell() == sum(map(len, LINES[:3]))


def test_seeking() -> None:
    data = random.Random(3).randbytes(3 << 20)
    rng = random.Random(4)
    with zllm.ZllmStream(io.BytesIO(zllm.compress(data, 1))) as file:
        assert file.seekable()
        for _ in range(50):
            at, size = rng.randrange(len(data)), rng.randrange(5000)
            assert file.seek(at) == at and file.tell() == at
            assert file.read(size) == data[at : at + size]
        assert file.seek(-10, io.SEEK_END) == len(data) - 10 and file.read() == data[-10:]
        assert file.seek(0) == 0 and file.seek(7, io.SEEK_CUR) == 7 and file.read(3) == data[7:10]
        assert file.seek(5, io.SEEK_END) and file.read() == b""
        with pytest.raises(ValueError):
            file.seek(0, 3)
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)


def test_a_seek_reads_no_more_than_it_needs() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    data = random.Random(3).randbytes(36 << 20)  # a section of 32 MiB, and one of 4
    source = Counting(zllm.compress(data, 1))
    with zllm.ZllmStream(source) as file:
        file.seek(35 << 20)
        assert file.read(100) == data[35 << 20 : (35 << 20) + 100]
    assert source.count < 5 << 20


def test_what_cannot_be_sought() -> None:
    with zllm.ZllmStream(Pipe(packed())) as file:
        assert not file.seekable()
        with pytest.raises(io.UnsupportedOperation):
            file.seek(10)
        assert file.read() == DATA


def test_a_changed_archive_is_what_it_is_now(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name * 50)
        with zllm.open("a.zllm", "a", level=3) as archive:
            archive.add(name)
    with zllm.open("a.zllm", "a", level=3) as archive:
        archive.delete(["one"])
    import tarfile

    with zllm.ZllmStream("a.zllm") as file:
        assert not file.seekable()
        with tarfile.open(fileobj=file, mode="r|") as tar:  # type: ignore[call-overload]
            assert [(one.name, tar.extractfile(one).read()) for one in tar] == [("two", b"two" * 50)]


def test_closed_files(path: Path) -> None:
    for file in (zllm.ZllmStream(path), zllm.ZllmStream(io.BytesIO(), "w")):
        file.close()
        file.close()
        for call in (file.read, file.readline, file.tell, file.flush, file.fileno, file.readable, file.writable,
                     file.seekable, file.peek, lambda file=file: file.write(b""), lambda file=file: file.seek(0),
                     file.__enter__):  # fmt: skip
            with pytest.raises(ValueError, match="closed"):
                call()


def test_the_other_direction(path: Path) -> None:
    with zllm.ZllmStream(path) as file:
        assert file.readable() and not file.writable()
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"")
    with zllm.ZllmStream(io.BytesIO(), "w") as file:
        assert file.writable() and not file.readable() and not file.seekable()
        for call in (file.read, file.readline, file.peek, lambda: file.seek(0)):
            with pytest.raises(io.UnsupportedOperation):
                call()


def test_fileno(path: Path) -> None:
    with open(path, "rb") as raw, zllm.ZllmStream(raw) as file:
        assert file.fileno() == raw.fileno()
    with zllm.ZllmStream(path) as file:
        assert os.fstat(file.fileno()).st_size == len(packed())
    with zllm.ZllmStream(io.BytesIO(packed())) as file, pytest.raises(OSError):
        file.fileno()


def test_an_error_leaves_what_was_there(path: Path, tmp_path: Path) -> None:
    for mode in ("w", "a"):
        with pytest.raises(RuntimeError), zllm.ZllmStream(path, mode, level=1) as file:
            file.write(b"half of it")
            raise RuntimeError
        assert path.read_bytes() == packed()
    with pytest.raises(RuntimeError), zllm.open_stream(tmp_path / "new", "wt") as text:
        text.write("half of it")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["data.zllm"]


def test_exclusive(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        zllm.ZllmStream(path, "x")
    with zllm.ZllmStream(tmp_path / "new", "xb", level=1) as file:
        file.write(b"new")
    assert zllm.decompress((tmp_path / "new").read_bytes()) == b"new"


def test_appending(path: Path, tmp_path: Path) -> None:
    with zllm.ZllmStream(path, "a", level=1) as file:
        file.write(b"more")
    assert path.read_bytes() == packed() + zllm.compress(b"more", 1)
    with zllm.ZllmStream(path) as file:
        assert file.read() == DATA + b"more"
        file.seek(len(DATA) - 3)
        assert file.read() == DATA[-3:] + b"more"
    with zllm.ZllmStream(tmp_path / "new", "ab", level=1) as file:
        file.write(b"new")
    assert zllm.decompress((tmp_path / "new").read_bytes()) == b"new"
    (tmp_path / "other").write_bytes(b"no archive")
    with pytest.raises(zllm.NotZllmError, match="other: not a zllm archive"):
        zllm.ZllmStream(tmp_path / "other", "a")
    assert (tmp_path / "other").read_bytes() == b"no archive"


@pytest.mark.parametrize("newline", [None, "", "\n", "\r\n"])
def test_text(newline: str | None, tmp_path: Path) -> None:
    text = "ein Fähnchen\nnoch eins\n"
    with zllm.open_stream(tmp_path / "t", "wt", encoding="utf-16-le", newline=newline, level=1) as file:
        file.write(text)
    with open(tmp_path / "plain", "w", encoding="utf-16-le", newline=newline) as plain:
        plain.write(text)
    assert zllm.decompress((tmp_path / "t").read_bytes()) == (tmp_path / "plain").read_bytes()
    with zllm.open_stream(tmp_path / "t", "rt", encoding="utf-16-le", newline=newline) as file:
        with open(tmp_path / "plain", encoding="utf-16-le", newline=newline) as plain:
            assert list(file) == list(plain)
        if newline is None:
            file.seek(0)
            assert file.read() == text
    with zllm.open_stream(tmp_path / "t", "rt", encoding="ascii", errors="replace") as file:
        assert "F\0\ufffd\0" in file.read()


def test_modes(path: Path) -> None:
    for mode in ("", "rw", "r+", "rbb", "z", "rr", "R"):
        with pytest.raises(ValueError, match="mode"):
            zllm.ZllmStream(path, mode)
        with pytest.raises(ValueError, match="mode"):
            zllm.open_stream(path, mode)
    with pytest.raises(ValueError, match="not both"):
        zllm.open_stream(path, "rbt")
    for name in ("encoding", "errors", "newline"):
        with pytest.raises(ValueError, match=f"{name} is for text"):
            zllm.open_stream(path, "rb", **{name: "x"})


def test_wrong_arguments(path: Path) -> None:
    with pytest.raises(TypeError):
        zllm.ZllmStream(17)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        zllm.ZllmStream(path, level=3)
    with pytest.raises(TypeError, match="llm"):
        zllm.ZllmStream(path, llm=False)
    with pytest.raises(ValueError, match="level"):
        zllm.ZllmStream(path, "w", level=10)
    assert path.read_bytes() == packed()
    with pytest.raises(FileNotFoundError):
        zllm.ZllmStream(path.parent / "missing")
    with pytest.raises(zllm.NotZllmError):
        zllm.ZllmStream(io.BytesIO(b"no archive"))
    with pytest.raises(zllm.NotZllmError):
        zllm.ZllmStream(io.BytesIO())


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
def test_damage(source: Callable[[bytes], io.BytesIO]) -> None:
    cut = packed()[:-5]
    with zllm.ZllmStream(source(cut)) as file:
        got = b""
        with pytest.raises(zllm.TruncatedError):
            while piece := file.read(1000):
                got += piece
        assert got == DATA
    with pytest.raises(zllm.TruncatedError):
        zllm.ZllmStream(source(cut)).read()


def test_neither_pickle_nor_copy(path: Path) -> None:
    with zllm.ZllmStream(path) as file, zllm.ZllmFile("new", "w") as archive:
        for one in (file, archive):
            for refused in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot pickle or copy"):
                    refused(one)
        assert file.read() == DATA
    with zllm.open("new") as archive, pytest.raises(TypeError, match="cannot pickle or copy 'Archive'"):
        copy.copy(archive.archive)


def test_one_that_is_forgotten(tmp_path: Path) -> None:
    with pytest.warns(ResourceWarning, match="never closed"):
        zllm.ZllmStream(tmp_path / "new", "w").write(b"text")
        import gc

        gc.collect()
    assert not list(tmp_path.iterdir())


def test_threads_share_a_reader() -> None:
    """Every line comes once, whole."""
    got: list[bytes] = []
    with zllm.ZllmStream(io.BytesIO(packed())) as file:

        def work() -> None:
            while line := file.readline():
                got.append(line)

        workers = [threading.Thread(target=work) for _ in range(12)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sorted(got) == sorted(LINES)


def test_a_pipe_of_the_system(tmp_path: Path) -> None:
    code = (
        "import sys, zllm\n"
        "with zllm.ZllmStream(sys.stdin.buffer) as file, zllm.ZllmStream(sys.stdout.buffer, 'w', level=1) as out:\n"
        "    for line in file: out.write(line.upper())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=packed(), stdout=subprocess.PIPE, check=True, cwd=tmp_path
    )  # fmt: skip
    assert zllm.decompress(run.stdout) == DATA.upper()


def test_damage_is_said_when_all_was_read() -> None:
    """Whatever the sizes of reads are, also if the last one ends where the data does."""
    cut = packed()[:-5]
    ways: list[Callable[[zllm.ZllmStream], bytes]] = [
        lambda file: file.read(len(DATA)), lambda file: file.read1(1 << 16), lambda file: file.readline(),
        lambda file: b"0" * file.readinto(bytearray(len(DATA))), lambda file: b"0" * file.readinto1(bytearray(7777)),
    ]  # fmt: skip
    for read in ways:
        count = 0
        with zllm.ZllmStream(io.BytesIO(cut)) as file, pytest.raises(zllm.TruncatedError):
            while piece := read(file):
                count += len(piece)
        assert count == len(DATA)
    with zllm.open_stream(io.BytesIO(cut), "rt") as text, pytest.raises(zllm.TruncatedError):
        for _ in text:
            pass
