"""Decompressing: all at once, and piece by piece."""

from __future__ import annotations

import io
import random
import threading
import tracemalloc
from functools import cache

import pytest

import zllm


@cache
def sample() -> tuple[bytes, bytes]:
    """Three sections of data that is hard and fast to code, and the archive."""
    data = b"".join(random.Random(number).randbytes(1 << 20) + bytes(1 << 20) for number in range(33))
    return data, zllm.compress(data, level=1)


@cache
def small() -> tuple[bytes, bytes]:
    data = b"".join(b"line %d of a small file\n" % number for number in range(2000))
    return data, zllm.compress(data, level=5)


def test_one_call() -> None:
    data, packed = small()
    decompressor = zllm.Decompressor()
    assert (decompressor.eof, decompressor.needs_input, decompressor.unused_data) == (False, True, b"")
    assert decompressor.decompress(packed) == data
    assert (decompressor.eof, decompressor.needs_input, decompressor.unused_data) == (True, False, b"")
    with pytest.raises(EOFError):
        decompressor.decompress(b"")


@pytest.mark.parametrize("step", [1, 2, 13, 1000])
def test_pieces_of_any_size(step: int) -> None:
    data, packed = small()
    decompressor, out = zllm.Decompressor(), []
    for at in range(0, len(packed), step):
        assert not decompressor.eof and decompressor.needs_input
        out.append(decompressor.decompress(packed[at : at + step]))
    assert b"".join(out) == data and decompressor.eof


def test_sections_one_after_the_other() -> None:
    data, packed = sample()
    decompressor, out = zllm.Decompressor(), []
    for at in range(0, len(packed), 1 << 20):
        out.append(decompressor.decompress(packed[at : at + (1 << 20)]))
    assert b"".join(out) == data and decompressor.eof
    sizes = [len(piece) for piece in out]
    assert 0 in sizes and len([size for size in sizes if size]) == 3, "each of three sections comes when it is whole"


@pytest.mark.parametrize("limit", [1, 100, 1 << 16])
def test_max_length(limit: int) -> None:
    data, packed = small()
    data = data if limit > 1 else data[:0]
    packed = packed if limit > 1 else zllm.compress(b"", 1)
    decompressor, out = zllm.Decompressor(), []
    out.append(decompressor.decompress(packed, max_length=limit))
    while not decompressor.eof:
        assert not decompressor.needs_input, "it has all of it"
        out.append(decompressor.decompress(b"", limit))
    assert b"".join(out) == data
    assert all(len(piece) <= limit for piece in out)


def test_max_length_that_is_all() -> None:
    data, packed = small()
    decompressor = zllm.Decompressor()
    assert decompressor.decompress(packed, len(data)) == data
    assert decompressor.eof


def test_max_length_of_nothing() -> None:
    data, packed = small()
    decompressor = zllm.Decompressor()
    assert decompressor.decompress(packed, 0) == b""
    assert not decompressor.eof and not decompressor.needs_input
    assert decompressor.decompress(b"") == data


def test_bounded_output_is_bounded_memory() -> None:
    packed = zllm.compress(bytes(128 << 20), 1)
    decompressor, count = zllm.Decompressor(), 0
    tracemalloc.start()
    try:
        count += len(decompressor.decompress(packed, 1 << 16))
        while not decompressor.eof:
            count += len(decompressor.decompress(b"", 1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 128 << 20
    assert peak < 100 << 20, peak


def test_unused_data() -> None:
    data, packed = small()
    for rest in (b"x", b"\0" * 9, packed, b"\xb5Z"):
        decompressor = zllm.Decompressor()
        assert decompressor.decompress(packed + rest) == data
        assert decompressor.eof and decompressor.unused_data == rest
    decompressor = zllm.Decompressor()
    for at in range(0, len(packed) + 50, 50):
        if decompressor.eof:
            break
        decompressor.decompress((packed + b"rest")[at : at + 50])
    assert b"rest".startswith(decompressor.unused_data)


def test_streams_one_behind_the_other() -> None:
    first, second = small(), (b"second", zllm.compress(b"second", 1))
    assert zllm.decompress(first[1] + second[1]) == first[0] + b"second"
    decompressor = zllm.Decompressor()
    assert decompressor.decompress(first[1] + second[1]) == first[0]
    assert zllm.Decompressor().decompress(decompressor.unused_data) == b"second"


def test_a_tar_archive_is_its_tar_stream() -> None:
    file = io.BytesIO()
    with zllm.open(fileobj=file, mode="w", level=3) as archive:
        info = zllm.ZllmInfo("name")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"bytes"))
    tar = zllm.decompress(file.getvalue())
    assert len(tar) == 10240 and tar[:4] == b"name" and tar[512:517] == b"bytes"
    assert zllm.Decompressor().decompress(file.getvalue()) == tar
    assert zllm.compress(tar, 3) == file.getvalue()


def test_what_is_no_archive() -> None:
    for data in (b"x", b"\x28\xb5\x2f\xfd", b"\x8dZLN", bytes(100)):
        with pytest.raises(zllm.NotZllmError):
            zllm.Decompressor().decompress(data)
        with pytest.raises(zllm.NotZllmError):
            zllm.decompress(data)
    with pytest.raises(zllm.NotZllmError):
        zllm.decompress(b"")
    assert zllm.Decompressor().decompress(b"") == b""


def test_what_is_cut() -> None:
    _, packed = small()
    for size in (len(packed) - 1, len(packed) // 2, 20):
        with pytest.raises(zllm.DamagedError):
            zllm.decompress(packed[:size])
        decompressor = zllm.Decompressor()
        decompressor.decompress(packed[:size])
        assert not decompressor.eof and decompressor.needs_input and decompressor.unused_data == b""


def test_every_wrong_byte_is_found() -> None:
    """No byte that is wrong gives other data, or an end that looks well."""
    data, packed = b"some data that is coded", zllm.compress(b"some data that is coded", 3)
    found = 0
    for at in range(len(packed)):
        broken = bytearray(packed)
        broken[at] ^= 0x55
        for step in (len(broken), 7):
            decompressor, out = zllm.Decompressor(), b""
            try:
                for place in range(0, len(broken), step):
                    out += decompressor.decompress(bytes(broken[place : place + step]))
            except (zllm.ZllmError, EOFError):
                found += 1
            assert data.startswith(out)
            assert not decompressor.eof or out == data
        with pytest.raises(zllm.ZllmError):
            zllm.decompress(bytes(broken))
    assert found > 1.5 * len(packed)


def test_limits() -> None:
    _, packed = small()
    with pytest.raises(zllm.LimitError):
        zllm.decompress(packed, limits=zllm.Limits(output_bytes=1000))
    with pytest.raises(zllm.LimitError):
        zllm.Decompressor(limits=zllm.Limits(output_bytes=1000)).decompress(packed)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'level'"):
        zllm.Decompressor(level=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'llm'"):
        zllm.decompress(b"", llm=False)
    with pytest.raises(TypeError):
        zllm.decompress("text")  # type: ignore[arg-type]
    with pytest.raises(zllm.UsageError, match="one generation"):
        zllm.Decompressor(generation=0)


def test_threads_share_a_decompressor() -> None:
    """They take bounded pieces of one stream: every byte comes once."""
    packed = zllm.compress(bytes(range(256)) * 4000, 1)
    decompressor, sizes = zllm.Decompressor(), []
    decompressor.decompress(packed, 0)

    def work() -> None:
        while not decompressor.eof:
            try:
                sizes.append(len(decompressor.decompress(b"", 1000)))
            except EOFError:
                return

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(sizes) == 256 * 4000
