"""The codec llm: any bytes, any boundaries, any threads; wrong payloads end in an error."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import within
from models import tiny

from zllm import _native as native
from zllm._native import model as native_model
from zllm.codecs import llm, llm_decoding, llm_encoding, llm_work
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.codecs.llm_encoding import cut_tokens, stream_count
from zllm.codecs.llm_work import Model
from zllm.codecs.scheduling import SCHEDULING
from zllm.errors import DamagedError
from zllm.models import store
from zllm.stats import Stats

WORDS = b"the quick brown fox\r\n\tjumps over the lazy dog; \xe4\xbd\xa0\xe5\xa5\xbd \xff\x00\xfe\n".split(b" ")
THREADS = (1, 2, 3, 7)
PER_STREAM = 300
"""Bytes of text a stream, where streams are made short so that a test is."""

Item = tuple[bytes, Sequence[int]]


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> LlmCodec:
    return LlmCodec(store.load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", layers=1, dim=32)))


def schedule(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch, **numbers: int) -> None:
    """Let the codec work by other numbers of lanes, bytes, ... for a test."""
    monkeypatch.setattr(codec, "scheduling", replace(codec.scheduling, **numbers))


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a few KB have many streams."""
    monkeypatch.setattr(llm_encoding, "stream_count", lambda size, most=16: max(1, min(size // PER_STREAM, most)))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how many threads each frame is coded, as frames come."""
    seen: list[int] = []

    class Job(native.Job):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            seen.append(self.threads)

    monkeypatch.setattr(native_model, "Job", Job)
    return seen


def text(size: int, seed: int = 0) -> bytes:
    """Some words again and again, without long repeats."""
    return b" ".join(random.Random(seed).choices(WORDS, k=size // 2 + 1))[:size]


def some_cuts(size: int, count: int) -> list[int]:
    rng = random.Random(size)
    return sorted(rng.sample(range(1, size), min(count, size - 1))) if size > 1 else []


def back(payloads: Sequence[bytes], items: Sequence[Item]) -> list[tuple[bytes, int, Sequence[int]]]:
    return [(payload, len(data), boundaries) for payload, (data, boundaries) in zip(payloads, items, strict=True)]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), count=st.integers(0, 6))
def test_arbitrary_bytes(codec: LlmCodec, data: bytes, count: int) -> None:
    boundaries = some_cuts(len(data), count)
    assert codec.decode(codec.encode(data, boundaries), len(data), boundaries) == data


@pytest.mark.parametrize("size", [0, 1, 2, 16383, 32768, 40_000])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_sizes_and_cuts(codec: LlmCodec, size: int, count: int) -> None:
    data, boundaries = text(size), some_cuts(size, count)
    assert codec.decode(codec.encode(data, boundaries), size, boundaries) == data


def test_every_byte_a_document(codec: LlmCodec) -> None:
    data = text(200)
    boundaries = range(1, len(data))
    assert codec.decode(codec.encode(data, boundaries), len(data), boundaries) == data


@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_cuts_where_streams_end(codec: LlmCodec, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that begins where a stream does: there is no given token for it, on either side."""
    monkeypatch.setattr(llm_encoding, "stream_count", min)
    few = LlmCodec(codec.model, most)
    data = bytes(range(128, 160))  # no two of them are a token
    items = [(data, (boundary,)) for boundary in range(1, len(data))] + [
        (data, range(1, len(data), 2)),
        (data, range(2, 32, 2)),
    ]
    payloads = few.encode_batch(items, Run())
    assert {payload[1] for payload in payloads} == {min(most, len(data)) - 1}
    assert few.decode_batch(back(payloads, items), Run()) == [data for data, _ in items]


BATCHES: dict[str, list[Item]] = {
    "many small": [(text(n, n), some_cuts(n, n % 4)) for n in range(1, 400, 9)],
    "few large": [(text(n, n), some_cuts(n, 5)) for n in (5000, 4900, 5300)],
    "one large": [(text(6000), some_cuts(6000, 9))],
    "more large than threads": [(text(n, n), ()) for n in range(4900, 5700, 100)],
    "all sizes": [(text(n, n), some_cuts(n, 3)) for n in (0, 5000, 1, 0, 700, 30, 4000, 2500, 900, 1)],
    "one stream": [(text(200), (50,))],
    "one byte": [(b"x", ())],
    "one byte each": [(bytes([n]), ()) for n in range(256)],
    "nothing": [(b"", ()), (b"", ())],
}


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_threads_and_steps_change_nothing(
    codec: LlmCodec, batch: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = BATCHES[batch]
    expected = [codec.encode(*item) for item in items]
    size = sum(len(data) for data, _ in items)
    schedule(codec, monkeypatch, rows=rows, lanes=rows)
    monkeypatch.setattr(llm_decoding, "lane_count", lambda *_: rows)
    for threads in THREADS:
        done: list[int] = []
        assert within(300, partial(codec.encode_batch, items, Run(threads, done.append))) == expected
        assert sum(done) == size
        done.clear()
        decoded = within(300, partial(codec.decode_batch, back(expected, items), Run(threads, done.append)))
        assert decoded == [data for data, _ in items]
        assert sum(done) == size


@pytest.fixture
def teams(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every model is decoded by teams: number of the thread and of its jobs, as they come."""
    seen: list[tuple[int, int]] = []

    def work(jobs: Sequence[native.Job], thread: int, lanes: int = 32, **how: Any) -> None:
        if how["team"] is not None:
            seen.append((thread, len(jobs)))
        native.work(jobs, thread, lanes, **how)

    schedule(codec, monkeypatch, last_cache_bytes=0)
    monkeypatch.setattr(llm_work, "work", work)
    return seen


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("rows", [1, 20, 64])
def test_teams_change_nothing(
    *, codec: LlmCodec, batch: str, rows: int, teams: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = BATCHES[batch]
    expected = codec.encode_batch(items, Run())
    assert not teams
    monkeypatch.setattr(llm_decoding, "lane_count", lambda *_: rows)
    for threads in THREADS:
        teams.clear()
        done: list[int] = []
        decoded = within(300, partial(codec.decode_batch, back(expected, items), Run(threads, done.append)))
        assert decoded == [data for data, _ in items]
        assert sum(done) == sum(len(data) for data, _ in items)
        texts = sum(1 for data, _ in items if data)
        for thread in range(threads if threads > 1 else 0):
            assert sum(jobs for number, jobs in teams if number == thread) == texts
        assert threads > 1 or not teams
    if batch == "few large" and rows == 64:
        assert (1, 3) in teams


@pytest.mark.parametrize("threads", [2, 4])
def test_a_team_is_cancelled(codec: LlmCodec, threads: int, teams: list[tuple[int, int]]) -> None:
    junk = b"\x00\x03" + b"\x80\x80\x40" * 3 + random.Random(1).randbytes(1 << 20)  # 4 streams of 1 MiB
    with pytest.raises(KeyboardInterrupt):
        within(20, lambda: codec.decode_batch([(junk, 4 << 20, ())], cancelled_at_once(threads)))
    assert sorted(teams) == [(number, 1) for number in range(threads)]


@pytest.mark.parametrize(("megabytes", "threads", "team"), [(25, 2, True), (25, 1, False), (23, 2, False)])
def test_large_models_are_for_teams(megabytes: int, threads: int, team: bool) -> None:
    packed = SimpleNamespace(memory=megabytes << 20, stream_memory=1 << 20)
    codec = LlmCodec(cast("Model", SimpleNamespace(native=packed)))
    assert isinstance(codec._decoding(Run(threads)), llm_decoding.TeamDecoding) == team


@pytest.mark.parametrize(("model", "stream", "lanes"), [(166, 25, 10), (166, 1, 32), (166, 900, 8), (5, 1, 8)])
def test_keys_and_values_of_all_lanes_are_bounded(model: int, stream: int, lanes: int) -> None:
    """In MiB; small frames are decoded side by side in so many streams."""
    packed = SimpleNamespace(memory=model << 20, stream_memory=stream << 20)
    assert llm_decoding.lane_count(cast("Any", packed), SCHEDULING) == lanes


@pytest.mark.usefixtures("short_streams")
def test_batches_are_worked_on_one_after_the_other(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    items = BATCHES["all sizes"]
    expected = codec.encode_batch(items, Run())
    schedule(codec, monkeypatch, batch_bytes=3000)
    assert codec.encode_batch(items, Run(2)) == expected
    assert codec.decode_batch(back(expected, items), Run(2)) == [data for data, _ in items]


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize(
    ("batch", "threads", "alone", "together"),
    [("one large", 7, 0, {7}), ("few large", 2, 2, {2}), ("few large", 7, 0, {7}), ("one stream", 7, 0, {1}),
     ("more large than threads", 2, 8, set()), ("many small", 3, 45, set()), ("one large", 1, 1, set())],
)  # fmt: skip
def test_large_frames_that_are_left_over_are_shared(
    *,
    codec: LlmCodec,
    shared: list[int],
    batch: str,
    threads: int,
    alone: int,
    together: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads that encode share every large frame; that decode, those that are left over."""
    items = BATCHES[batch]
    schedule(codec, monkeypatch, rows=16)  # a large frame fills a step
    monkeypatch.setattr(llm_decoding, "lane_count", lambda *_: 16)
    encoded = (0, {2}) if threads == 2 else (alone, together)
    for work, (expected, others) in (
        (lambda: codec.encode_batch(items, Run(threads)), encoded),
        (lambda: codec.decode_batch(back(codec.encode_batch(items, Run()), items), Run(threads)), (alone, together)),
    ):
        shared.clear()
        work()
        last = shared[-len(items) :]
        assert sorted(last)[: expected if others != {1} else 0] == [1] * expected
        assert set(sorted(last)[expected:]) == others


@pytest.mark.usefixtures("short_streams")
def test_decoding_threads_share_frames_of_more_streams_than_a_step_has_rows(
    codec: LlmCodec, shared: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = BATCHES["more large than threads"]
    payloads = codec.encode_batch(items, Run())
    schedule(codec, monkeypatch, lanes=8)
    shared.clear()
    assert codec.decode_batch(back(payloads, items), Run(2)) == [data for data, _ in items]
    assert set(shared[-len(items) :]) == {2}


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize(
    ("batch", "threads", "rows"), [("one large", 1, 16), ("few large", 2, 16), ("many small", 2, 3)]
)
def test_a_frame_that_a_thread_has_alone_is_one_step(
    *, codec: LlmCodec, batch: str, threads: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few lanes a model's keys and values leave room for; small frames take no more than those."""
    seen: set[int] = set()

    def work(jobs: Sequence[native.Job], thread: int, lanes: int = 32, **how: Any) -> None:
        seen.add(lanes)
        native.work(jobs, thread, lanes, **how)

    items = BATCHES[batch]
    payloads = codec.encode_batch(items, Run())
    monkeypatch.setattr(llm_decoding, "lane_count", lambda *_: 3)
    monkeypatch.setattr(llm_work, "work", work)
    assert codec.decode_batch(back(payloads, items), Run(threads)) == [data for data, _ in items]
    assert max(seen) == rows


@pytest.mark.usefixtures("short_streams")
def test_fewer_streams_than_the_size_promised(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with long tokens may have too few of them to fill all streams: threads without one have nothing to do."""
    data = text(6000)
    expected = LlmCodec(codec.model, 2).encode(data)
    monkeypatch.setattr(llm_encoding, "cut_tokens", lambda tokens, count: cut_tokens(tokens, 2))
    assert within(300, lambda: codec.encode_batch([(data, ())], Run(7))) == [expected]


def test_streams_are_the_encoders_choice(codec: LlmCodec) -> None:
    data = text(40_000)
    payload = LlmCodec(codec.model, 1).encode(data)
    assert payload[:2] == b"\0\0"
    assert codec.encode(data)[:2] == b"\0\1"
    assert codec.decode(payload, len(data)) == data


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("threads", THREADS)
def test_text_that_needs_more_room(codec: LlmCodec, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items = BATCHES["all sizes"]
    expected = codec.encode_batch(items, Run())
    monkeypatch.setattr(native_model, "usual_room", lambda _: 16)
    done: list[int] = []
    assert within(300, lambda: codec.encode_batch(items, Run(threads, done.append))) == expected
    assert sum(done) == sum(len(data) for data, _ in items)


def test_threads_that_share_a_frame_tokenise_its_parts_side_by_side(
    codec: LlmCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = BATCHES["one large"] + BATCHES["one stream"]
    monkeypatch.setattr(llm_encoding, "stream_count", lambda size, most=16: 2 if size > 1000 else 1)
    schedule(codec, monkeypatch, tokenised_bytes=400)
    expected = codec.encode_batch(items, Run())
    encode, calls, two = codec.model.tokenizer.encode, itertools.count(), threading.Barrier(2)

    def tokenise(data: bytes) -> list[int]:
        if next(calls) < 2:  # the first to come waits for another one
            two.wait(20)
        return encode(data)

    monkeypatch.setattr(codec.model.tokenizer, "encode", tokenise)
    assert within(300, partial(codec.encode_batch, items, Run(3))) == expected
    assert codec.decode_batch(back(expected, items), Run()) == [data for data, _ in items]


def test_room_for_anything_is_enough(tmp_path: Path) -> None:
    """Nine decisions for each byte of a token and one more, of 24 bits each; and the code string's end."""
    assert all(llm.ROOM_FOR_ANYTHING * n >= (9 * n + 1) * 3 + 1 for n in range(1, 1025))
    extreme = LlmCodec(store.load(tiny.write(tmp_path / "m.zlm", extreme=True)))
    noise = random.Random(1).randbytes(2000)
    for size in (1, 2, 3, 40, 2000):
        assert len(extreme.encode(noise[:size])) < llm.ROOM_FOR_ANYTHING * size


def cancelled_at_once(threads: int) -> Run:
    """Cancelled as soon as any text has been coded."""
    cancelled = threading.Event()
    return Run(threads, lambda count: cancelled.set() if count else None, cancelled)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_cancelled_while_encoding(codec: LlmCodec, threads: int, shared: list[int]) -> None:
    run = cancelled_at_once(threads)
    with pytest.raises(KeyboardInterrupt):
        within(20, lambda: codec.encode_batch([(text(1_200_000), ())], run))
    assert shared == [threads]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_cancelled_while_decoding(codec: LlmCodec, threads: int, shared: list[int]) -> None:
    run = cancelled_at_once(threads)
    junk = b"\x00\x03" + b"\x80\x80\x40" * 3 + random.Random(1).randbytes(1 << 20)  # 4 streams of 1 MiB
    with pytest.raises(KeyboardInterrupt):
        within(20, lambda: codec.decode_batch([(junk, 4 << 20, ())], run))
    assert shared == [threads]


@pytest.mark.usefixtures("short_streams")
def test_cancelled_by_progress(codec: LlmCodec) -> None:
    """Ctrl-C reaches the thread that waits, and all the others end."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        within(20, lambda: codec.encode_batch([(text(300_000), ())] * 3, Run(2, interrupt)))


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_one_thread_ends_all(codec: LlmCodec, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = LlmCodec(_Broken(codec.model))
    for items in (BATCHES["one large"], BATCHES["all sizes"]):
        with pytest.raises(ValueError, match="no tokens today"):
            within(20, lambda: broken.encode_batch(items, Run(threads)))  # noqa: B023


class _Broken:
    def __init__(self, model: Model) -> None:
        self.native, self.start, self.tokenizer = model.native, model.start, self

    def encode(self, _: bytes) -> list[int]:
        raise ValueError("no tokens today")


def test_statistics(codec: LlmCodec) -> None:
    items = BATCHES["all sizes"]
    stats = Stats()
    payloads = codec.encode_batch(items, Run(2, stats=stats))
    size = sum(len(data) for data, _ in items)
    assert (stats.stages["model"].bytes_in, stats.stages["tokenizing"].bytes_in) == (size, size)
    assert 0 < stats.stages["model"].bytes_out <= sum(map(len, payloads))
    parts = sum(row.seconds for name, row in stats.stages.items() if name.startswith("model/"))
    assert 0 < parts <= stats.stages["model"].seconds


def test_long_repeats_cost_the_model_no_time(codec: LlmCodec) -> None:
    data = text(3000) + text(2500, 9) + text(3000) + bytes(4000) + text(2500, 9)
    boundaries = [3000, 5500, 7000, 8500, 12500, 13000]
    stats = Stats()
    done: list[int] = []
    payload = codec.encode_batch([(data, boundaries)], Run(2, done.append, stats=stats))[0]
    assert stats.stages["model"].bytes_in < 3000 + 2500 + 200
    assert sum(done) == len(data)
    done.clear()
    assert codec.decode_batch([(payload, len(data), boundaries)], Run(2, done.append)) == [data]
    assert sum(done) == len(data)


@given(st.integers(0, 20 << 20), st.integers(1, 256))
def test_stream_count(size: int, most: int) -> None:
    count = stream_count(size, most)
    assert 1 <= count <= most
    assert count <= stream_count(size + 70_000, most)
    assert count <= stream_count(size, most + 1)
    assert size // count >= min(size, 16 << 10)


@pytest.mark.parametrize(
    ("size", "most", "count"),
    [(0, 16, 1), (16383, 16, 1), (32767, 16, 1), (32768, 16, 2), (128 << 10, 16, 8), (512 << 10, 16, 12),
     (1 << 20, 16, 16), (1 << 20, 5, 5), (64 << 20, 16, 16), (64 << 20, 256, 256), (1 << 20, 1, 1)],
)  # fmt: skip
def test_how_many_streams(size: int, most: int, count: int) -> None:
    assert stream_count(size, most) == count


@given(st.integers(1, 5000), st.integers(1, 256))
def test_streams_have_as_many_tokens_as_their_neighbours(total: int, count: int) -> None:
    ends = cut_tokens(range(total), count)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert len(ends) == min(count, total)
    assert ends[-1] == total
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "a number does not end"),
        (b"\x80", "a number does not end"),
        (b"\x80" * 12, "a number does not end"),
        (b"\x01\x00\x05\x00\x00", "a repeat does not fit"),
        (b"\x00\x0a", "too many streams"),
        (b"\x00\xff\x7f", "too many streams"),
        (b"\x00\x01", "a number does not end"),
        (b"\x00\x01\x00junk", "do not fit"),
        (b"\x00\x01\x0ajunk", "do not fit"),
        (b"\x00\x02\x05\x05junk", "do not fit"),
        (b"\x00\x01\xff\xff\xff\xff\x7fjunk", "do not fit"),
    ],
)
def test_payloads_that_no_encoder_makes(codec: LlmCodec, payload: bytes, words: str) -> None:
    with pytest.raises(DamagedError, match=words):
        codec.decode(payload, 10)


def test_more_streams_than_a_frame_may_have(codec: LlmCodec) -> None:
    with pytest.raises(DamagedError, match="too many streams"):
        codec.decode(b"\x00\x80\x02" + b"\x01" * 256 + bytes(300), 1000)
    # one-byte streams of zeros: whatever they say
    assert len(codec.decode(b"\x00\xff\x01" + b"\x01" * 255 + bytes(240 * 512), 256)) == 256
    with pytest.raises(DamagedError, match="claim to be 256 in 256 streams"):
        codec.decode(b"\x00\xff\x01" + b"\x01" * 255 + bytes(240 * 512 - 1), 256)
    assert len(codec.decode(b"\x00\x0f" + b"\x01" * 15, 16)) == 16


def test_more_text_than_a_code_string_may_claim(codec: LlmCodec) -> None:
    assert len(codec.decode(b"\x00\x00", 4096)) == 4096
    assert len(codec.decode(b"\x00\x00" + bytes(2), 3 * 4096)) == 3 * 4096
    with pytest.raises(DamagedError, match="claim to be 12289"):
        codec.decode(b"\x00\x00" + bytes(2), 3 * 4096 + 1)


def test_encoders_stay_below_the_limits_of_readers(codec: LlmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_encoding, "stream_count", lambda size, most=16: 40)
    text = b"".join(b"%d words and words\n" % i for i in range(400))
    payload = codec.encode(text)
    assert len(payload) > 24 * 512 and payload.endswith(bytes(100))
    assert codec.decode(payload, len(text)) == text


def test_frames_larger_than_the_container_has(codec: LlmCodec) -> None:
    with pytest.raises(DamagedError, match="more than one may have"):
        codec.decode(b"\0", (64 << 20) + 1)


def _decoded(codec: LlmCodec, payload: bytes, size: int, threads: int = 1, boundaries: Sequence[int] = ()) -> None:
    """As many bytes as were asked for, or the error that says why not; in time."""
    try:
        (got,) = within(300, lambda: codec.decode_batch([(payload, size, boundaries)], Run(threads)))
    except DamagedError:
        return
    assert len(got) == size


@settings(max_examples=100, deadline=None)
@given(data=st.data(), threads=st.sampled_from([1, 3]))
def test_damaged_payloads(codec: LlmCodec, data: st.DataObject, threads: int) -> None:
    size = 5000
    payload = bytearray(_payload(codec, size))
    kind = data.draw(st.sampled_from(["flip", "cut", "junk", "size", "cuts"]))
    boundaries: list[int] = []
    if kind == "flip":
        payload[data.draw(st.integers(0, min(60, len(payload) - 1)))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del payload[data.draw(st.integers(0, 40)) :]
    elif kind == "junk":
        payload = bytearray(data.draw(st.binary(max_size=30)))
        size = data.draw(st.integers(1, 300))
    elif kind == "size":
        size = data.draw(st.integers(1, 40))
    else:
        boundaries = sorted(data.draw(st.sets(st.integers(1, size - 1), max_size=5)))
    _decoded(codec, bytes(payload), size, threads, boundaries)


_CACHE: dict[int, bytes] = {}


def _payload(codec: LlmCodec, size: int) -> bytes:
    if size not in _CACHE:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(llm_encoding, "stream_count", lambda size, most: 5)
            _CACHE[size] = codec.encode(text(size))
    return _CACHE[size]


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("threads", THREADS)
def test_damage_in_frames_that_threads_share(codec: LlmCodec, threads: int) -> None:
    data, rng = text(4000), random.Random(threads)
    payload = codec.encode(data)
    for _ in range(8):
        damaged = bytearray(payload)
        damaged[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        _decoded(codec, bytes(damaged), len(data), threads)
        _decoded(codec, payload[: rng.randrange(len(payload))], len(data), threads)


def test_one_damaged_frame_of_many(codec: LlmCodec) -> None:
    items = back([codec.encode(text(n)) for n in range(1, 40)], [(text(n), ()) for n in range(1, 40)])
    items[20] = (b"\x00\x05\x00", 21, ())
    with pytest.raises(DamagedError):
        within(300, lambda: codec.decode_batch(items, Run(3)))


def test_default_model_beats_zstd_on_english(checkout: Path) -> None:
    """The reason why all this exists, on text of our own."""
    import zstandard

    codec = LlmCodec(store.resolve())
    for name in ("docs/arithmetic.md", "README.md"):
        data = (checkout / name).read_bytes()
        coded = codec.encode(data)
        assert codec.decode(coded, len(data)) == data
        assert len(coded) < 0.75 * len(zstandard.ZstdCompressor(19).compress(data))
