"""The codec llm: any bytes, any cuts, any threads; wrong payloads end in an error."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny

from zllm.codecs import llm
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec, cut_streams, stream_count
from zllm.errors import DamagedError
from zllm.models import store

TEXT = b"the quick brown fox\r\n\tjumps over the lazy dog; \xe4\xbd\xa0\xe5\xa5\xbd \xff\x00\xfe\n"


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> LlmCodec:
    return LlmCodec(store.load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", layers=1, dim=32)))


def some_cuts(size: int, count: int) -> list[int]:
    rng = random.Random(size)
    return sorted(rng.sample(range(1, size), min(count, size - 1))) if size > 1 else []


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), count=st.integers(0, 6))
def test_arbitrary_bytes(codec: LlmCodec, data: bytes, count: int) -> None:
    cuts = some_cuts(len(data), count)
    assert codec.decode(codec.encode(data, cuts), len(data), cuts) == data


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 32768, 40000, 150_000])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_sizes_and_cuts(codec: LlmCodec, size: int, count: int) -> None:
    data = (TEXT * (size // len(TEXT) + 1))[:size]
    cuts = some_cuts(size, count)
    assert codec.decode(codec.encode(data, cuts), size, cuts) == data


def test_threads_and_batches_change_nothing(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [((TEXT * 900)[:n], some_cuts(n, 5)) for n in (0, 10, 50_000, 3000, 20_000)]
    expected = [codec.encode(*item) for item in items]
    jobs = [(code, len(data), cuts) for code, (data, cuts) in zip(expected, items, strict=True)]
    for threads in (1, 2, 5):
        monkeypatch.setattr(llm, "BATCH_BYTES", 30_000 * threads)
        monkeypatch.setattr(llm, "LANES", 3 * threads)
        assert codec.encode_batch(items, Run(threads)) == expected
        assert codec.decode_batch(jobs, Run(threads)) == [data for data, _ in items]


def test_progress_counts_every_byte(codec: LlmCodec) -> None:
    done: list[int] = []
    data = TEXT * 600
    codec.encode_batch([(data, ())], Run(2, done.append))
    assert sum(done) == len(data)


def test_cancelled(codec: LlmCodec) -> None:
    run = Run(2, cancelled=threading.Event())
    threading.Timer(0.3, run.cancelled.set).start()
    with pytest.raises(KeyboardInterrupt):
        codec.encode_batch([(TEXT * 100_000, ())], run)


@given(st.integers(0, 20 << 20))
def test_stream_count_grows_with_size(size: int) -> None:
    assert 1 <= stream_count(size) <= stream_count(size + 70_000)


def test_streams_end_at_members_or_words() -> None:
    data = memoryview(b"word " * 20_000)
    ends = cut_streams(data, [17_000])
    assert 17_000 in ends
    assert ends[-1] == len(data)
    assert all(a < b for a, b in itertools.pairwise(ends))
    assert all(data[e - 1] == ord(" ") for e in ends if e != 17_000)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_payloads(codec: LlmCodec, data: st.DataObject) -> None:
    text = TEXT * 500
    payload = bytearray(_payload(codec, text))
    kind = data.draw(st.sampled_from(["flip", "cut", "junk", "size"]))
    size = len(text)
    if kind == "flip":
        payload[data.draw(st.integers(0, min(60, len(payload) - 1)))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del payload[data.draw(st.integers(0, 40)) :]
    elif kind == "junk":
        payload = bytearray(data.draw(st.binary(max_size=30)))
        size = data.draw(st.integers(1, 300))
    else:
        size = data.draw(st.integers(1, 40))
    try:
        got = codec.decode(bytes(payload), size)
    except DamagedError:
        return
    assert len(got) == size


_CACHE: dict[bytes, bytes] = {}


def _payload(codec: LlmCodec, text: bytes) -> bytes:
    if text not in _CACHE:
        _CACHE[text] = codec.encode(text)
    return _CACHE[text]


def test_default_model_beats_zstd_on_english(checkout: Path) -> None:
    """The reason why all this exists, on text of our own."""
    import zstandard

    codec = LlmCodec(store.resolve())
    for name in ("docs/arithmetic.md", "README.md"):
        data = (checkout / name).read_bytes()
        coded = codec.encode(data)
        assert codec.decode(coded, len(data)) == data
        assert len(coded) < 0.85 * len(zstandard.ZstdCompressor(19).compress(data))
