"""Compressing: all at once, and piece by piece."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import zllm

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.mark.parametrize("data", [b"", b"x", b"abc" * 70_000, bytes(70_000), bytes(range(256)) * 9])
@pytest.mark.parametrize("level", [1, 3, 5])
def test_data_comes_back(data: bytes, level: int) -> None:
    packed = zllm.compress(data, level=level)
    assert zllm.decompress(packed) == data


def test_the_model_is_used_by_default(prose: bytes) -> None:
    text = prose[:8000]
    packed = zllm.compress(text)
    assert zllm.decompress(packed) == text
    assert len(packed) < len(zllm.compress(text, llm=False)) < len(zllm.compress(text, 1))
    assert len(zllm.compress(text, model="fast")) > len(packed)


def test_the_bytes_are_the_filters(zllm: Run, prose: bytes) -> None:
    import zllm as library

    for level in (2, 6):
        assert zllm("-z", f"-{level}", data=prose[:4000]).stdout == library.compress(prose[:4000], level, threads=3)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: __import__("array").array("H", data)])
def test_all_that_has_a_buffer(kind: Callable[[bytes], object]) -> None:
    data = b"0123456789" * 500
    packed = zllm.compress(kind(data), 3)  # type: ignore[arg-type]
    assert packed == zllm.compress(data, 3)
    assert zllm.decompress(kind(packed + bytes(len(packed) % 2))) == data  # type: ignore[arg-type]


def test_a_buffer_may_change_when_it_was_taken() -> None:
    data, compressor = bytearray(b"before" * 100), zllm.Compressor(3)
    first = compressor.compress(data)
    data[:] = b"behind" * 100
    assert zllm.decompress(first + compressor.flush()) == b"before" * 100


@pytest.mark.parametrize("step", [1, 7, 4096, 100_000])
def test_pieces_are_what_the_whole_is(step: int, prose: bytes) -> None:
    data = prose[: 3000 if step == 1 else 60_000]
    compressor = zllm.Compressor(level=3)
    pieces = [compressor.compress(data[at : at + step]) for at in range(0, len(data), step)]
    assert b"".join([*pieces, compressor.flush()]) == zllm.compress(data, level=3)


def test_sections_come_as_they_are_full() -> None:
    compressor = zllm.Compressor(level=1, threads=1)
    data = bytes(range(256)) * (1 << 12)
    sizes = [len(compressor.compress(data)) for _ in range(100)]
    rest = compressor.flush()
    assert any(size > 4096 for size in sizes)
    assert sum(sizes) > len(rest)


def test_what_follows_a_flush_is_another_stream() -> None:
    compressor = zllm.Compressor(1)
    first = compressor.compress(b"one") + compressor.flush()
    second = compressor.compress(b"two") + compressor.flush()
    assert zllm.decompress(first) == b"one" and zllm.decompress(second) == b"two"
    assert zllm.decompress(first + second) == b"onetwo"
    assert zllm.decompress(compressor.flush()) == b""


def test_wrong_arguments() -> None:
    for wrong in (0, 10, -1):
        with pytest.raises(ValueError, match="level"):
            zllm.compress(b"", wrong)
        with pytest.raises(zllm.UsageError):
            zllm.Compressor(wrong)
    with pytest.raises(TypeError, match="unexpected keyword argument 'levle'"):
        zllm.Compressor(levle=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'limits'"):
        zllm.compress(b"", limits=zllm.Limits())
    with pytest.raises(TypeError, match=r"buffer|bytes-like"):
        zllm.compress("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        zllm.Compressor(3).compress(17)  # type: ignore[arg-type]
    with pytest.raises(zllm.MissingModelError):
        zllm.Compressor(model="no-such-model")


def test_an_error_ends_it() -> None:
    compressor = zllm.Compressor(3)
    with pytest.raises(TypeError):
        compressor.compress("text")  # type: ignore[arg-type]
    with pytest.raises(zllm.UsageError, match="ended this compressor"):
        compressor.compress(b"bytes")
    with pytest.raises(zllm.UsageError, match="ended this compressor"):
        compressor.flush()


@pytest.mark.parametrize("refused", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("make", [zllm.Compressor, zllm.Decompressor])
def test_neither_pickle_nor_copy(refused: Callable[[object], object], make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="cannot pickle or copy"):
        refused(make())


def test_threads_share_a_compressor() -> None:
    """Each call is whole; in what order they come is theirs."""
    compressor, pieces, lock = zllm.Compressor(1), [], threading.Lock()

    def work(letter: int) -> None:
        for _ in range(50):
            with lock:  # what is returned has an order
                pieces.append(compressor.compress(bytes([letter]) * 1000))

    workers = [threading.Thread(target=work, args=(letter,)) for letter in b"abcdefgh"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    data = zllm.decompress(b"".join(pieces) + compressor.flush())
    runs = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    assert len(runs) == 400 and all(run == run[:1] * 1000 for run in runs)
    assert {letter: runs.count(bytes([letter]) * 1000) for letter in b"abcdefgh"} == dict.fromkeys(b"abcdefgh", 50)


def test_a_forgotten_compressor_does_not_keep_the_program(tmp_path: Path) -> None:
    code = "import zllm; c = zllm.Compressor(1); c.compress(bytes(33 << 20)); print('out')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True, cwd=tmp_path)
    assert run.stdout == b"out\n" and not run.stderr


def test_decompressing_loads_no_planner(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(zllm.compress(b"text " * 99, 3))
    code = "import sys, zllm; zllm.decompress(open('packed', 'rb').read()); print('zllm.planner' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path)
    assert run.stdout == b"False\n"
