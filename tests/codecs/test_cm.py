"""The codec cm: any bytes, boundaries and threads; what it decodes of wrong payloads is for the checksum to refuse."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from cross import vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import within

from zllm import _native as native
from zllm._native import ARITHMETIC_VERSION, Cancel, Counter, cm_decode, cm_encode, coder_decode, predictor
from zllm.codecs import cm
from zllm.codecs.base import Run
from zllm.codecs.cm import CmCodec
from zllm.errors import DamagedError, UnsupportedVersionError, UsageError
from zllm.stats import Stats

RNG = random.Random(4)
TEXT = b"the quick brown fox\r\n\tjumps over the lazy dog; \xe4\xbd\xa0\xe5\xa5\xbd \xff\x00\xfe\n"
NOISE = RNG.randbytes(20_000)
KINDS = {
    "nothing": b"",
    "one byte": b"a",
    "a zero": b"\0",
    "text": TEXT * 100,
    "every byte": bytes(range(256)),
    "every byte, often": bytes(range(256)) * 20,
    "every byte, backwards": bytes(range(255, -1, -1)) * 3,
    "a long run": bytes(300_000),
    "runs": b"".join(bytes([n]) * (1 << n % 12) for n in range(60)),
    "noise": NOISE,
    "noise and its repetition": NOISE * 2,
    "a block's size": TEXT[:1] * 4096,
    "one more": TEXT[:1] * 4097,
}

Item = tuple[bytes, Sequence[int]]


@pytest.fixture
def codec() -> CmCodec:
    return CmCodec()


def back(payloads: Sequence[bytes], items: Sequence[Item]) -> list[tuple[bytes, int, Sequence[int]]]:
    return [(payload, len(data), boundaries) for payload, (data, boundaries) in zip(payloads, items, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(codec: CmCodec, kind: str) -> None:
    data = KINDS[kind]
    payload = codec.encode(data)
    assert codec.decode(payload, len(data)) == data
    assert len(payload) <= 1.05 * len(data) + 10
    assert payload[:1] == (bytes([ARITHMETIC_VERSION]) if data else b"")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=600), boundaries=st.sets(st.integers(1, 599), max_size=8))
def test_any_bytes_and_cuts(data: bytes, boundaries: set[int]) -> None:
    codec, inside = CmCodec(), sorted(boundary for boundary in boundaries if boundary < len(data))
    assert codec.decode(codec.encode(data, inside), len(data), inside) == data


def test_every_byte_a_document(codec: CmCodec) -> None:
    data = TEXT * 5
    boundaries = range(1, len(data))
    assert codec.decode(codec.encode(data, boundaries), len(data), boundaries) == data


def test_it_learns(codec: CmCodec) -> None:
    """What is said again is nearly free, however far back, and so is a run."""
    once, twice = len(codec.encode(NOISE)), len(codec.encode(NOISE * 2))
    assert twice < 1.1 * once
    assert len(codec.encode(bytes(300_000))) < 300


def test_it_beats_zstd_on_english(codec: CmCodec, checkout: Path) -> None:
    import zstandard

    for name in ("docs/arithmetic.md", "README.md"):
        data = (checkout / name).read_bytes()
        assert len(codec.encode(data)) < 0.9 * len(zstandard.ZstdCompressor(19).compress(data))


@pytest.mark.parametrize("version", [0, ARITHMETIC_VERSION - 1, ARITHMETIC_VERSION + 1, 255])
def test_another_version_of_the_arithmetic(codec: CmCodec, version: int) -> None:
    payload = bytes([version]) + codec.encode(TEXT)[1:]
    with pytest.raises(UnsupportedVersionError, match=f"version {version}, this program has {ARITHMETIC_VERSION}"):
        codec.decode(payload, len(TEXT))


def test_one_frame_of_another_version_is_noticed_before_any_is_decoded(codec: CmCodec) -> None:
    done: list[int] = []
    items = [(codec.encode(TEXT), len(TEXT), ()), (b"\xff", 10, ())]
    with pytest.raises(UnsupportedVersionError):
        codec.decode_batch(items, Run(1, done.append))
    assert done == []


def test_refused_sizes(codec: CmCodec) -> None:
    with pytest.raises(DamagedError, match="it is empty"):
        codec.decode(b"", 1)
    with pytest.raises(DamagedError, match="more than one may have"):
        codec.decode(codec.encode(TEXT), (64 << 20) + 1)


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=300), size=st.integers(1, 2000), boundaries=st.sets(st.integers(1, 1999), max_size=4))
def test_junk_decodes_to_as_many_bytes_as_were_asked_for(junk: bytes, size: int, boundaries: set[int]) -> None:
    payload = bytes([ARITHMETIC_VERSION]) + junk
    assert len(CmCodec().decode(payload, size, sorted(boundary for boundary in boundaries if boundary < size))) == size


def test_damage_is_in_bounds(codec: CmCodec) -> None:
    data = TEXT * 20
    payload = codec.encode(data, [100, 500])
    for _ in range(100):
        damaged = bytearray(payload[: RNG.randrange(1, len(payload) + 1)])
        at = RNG.randrange(len(damaged))
        damaged[at] ^= (1 << RNG.randrange(8)) if at else 0
        assert len(codec.decode(bytes(damaged), len(data), [100, 500])) == len(data)


def test_cuts_matter_and_are_checked(codec: CmCodec) -> None:
    data = TEXT * 20
    assert codec.encode(data) != codec.encode(data, [1001])
    for boundaries in ([0], [len(data)], [5, 5], [7, 3]):
        with pytest.raises(UsageError):
            codec.encode(data, boundaries)
        with pytest.raises(UsageError):
            codec.decode(codec.encode(data), len(data), boundaries)


ITEMS: list[Item] = [(TEXT * n, range(7, len(TEXT) * n, 97)) for n in (1, 40, 3, 200, 0, 9)] + [(b"x", ()), (NOISE, ())]


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 50])
def test_threads_change_nothing(codec: CmCodec, threads: int) -> None:
    expected = [codec.encode(*item) for item in ITEMS]
    size = sum(len(data) for data, _ in ITEMS)
    done: list[int] = []
    assert within(300, lambda: codec.encode_batch(ITEMS, Run(threads, done.append))) == expected
    assert sum(done) == size and min(done) >= 0
    done.clear()
    decoded = within(300, lambda: codec.decode_batch(back(expected, ITEMS), Run(threads, done.append)))
    assert decoded == [data for data, _ in ITEMS]
    assert sum(done) == size and min(done) >= 0


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 8192, 10_000])
def test_progress_counts_every_byte(size: int) -> None:
    counter = Counter()
    data = (TEXT * 200)[:size]
    coded = cm_encode(data, counter=counter)
    assert counter.value == size
    assert cm_decode(coded, size, counter=counter) == data
    assert counter.value == 2 * size


def test_progress_moves_inside_a_frame(codec: CmCodec) -> None:
    done: list[int] = []
    codec.encode_batch([(TEXT * 20_000, ())], Run(1, done.append))
    assert len([count for count in done if count]) > 1


@pytest.mark.parametrize("threads", [1, 3])
def test_cancelled(codec: CmCodec, threads: int) -> None:
    large = TEXT * 100_000
    junk = bytes([ARITHMETIC_VERSION]) + NOISE
    for work in (
        lambda run: codec.encode_batch([(large, ())] * 4, run),
        lambda run: codec.decode_batch([(junk, len(large), ())] * 4, run),
    ):
        run = Run(threads, cancelled=threading.Event())
        threading.Timer(0.2, run.cancelled.set).start()
        with pytest.raises(KeyboardInterrupt):
            within(10, lambda: work(run))  # noqa: B023


def test_cancelled_before_it_began() -> None:
    flag = Cancel()
    flag.set()
    for work in (lambda: cm_encode(TEXT, cancel=flag), lambda: cm_decode(b"", 10, cancel=flag)):
        with pytest.raises(KeyboardInterrupt):
            work()


def test_an_error_ends_all_threads(codec: CmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, *_: object, **__: object) -> bytes:
        if len(data) == 5:
            raise MemoryError("five")
        return native.cm_encode(data)

    monkeypatch.setattr(cm, "cm_encode", fail)
    with pytest.raises(MemoryError, match="five"):
        within(20, lambda: codec.encode_batch([(TEXT, ()), (b"abcde", ()), (TEXT, ())], Run(2)))


def test_text_that_needs_more_room(codec: CmCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is coded once more, with room for anything, and progress is told once."""
    items = [(TEXT * 200, [100]), (b"x", ()), (NOISE, ())]
    expected = codec.encode_batch(items, Run())
    monkeypatch.setattr(predictor, "usual_room", lambda _: 16)
    done: list[int] = []
    assert within(20, lambda: codec.encode_batch(items, Run(2, done.append))) == expected
    assert sum(done) == sum(len(data) for data, _ in items) and min(done) >= 0


def test_room_for_anything_is_enough() -> None:
    assert predictor.CM_WORST * 8 >= 8 * 24  # eight decisions of 24 bits


CYCLES = """
import gc
from zllm._native import Cancel, cm_decode, cm_encode

flag = Cancel()
flag.set()

def once(work):
    data = memoryview(b"some text" * 100)[10:500]
    try:
        work(data)
    except KeyboardInterrupt as error:
        mine = error

for _ in range(50):
    once(lambda data: cm_encode(data, cancel=flag))
    once(lambda data: cm_decode(data, 99, cancel=flag))
    gc.collect()
"""


def test_errors_that_are_kept_do_not_crash_the_cycle_collector() -> None:
    """It does, if it finds a memoryview of which somebody still has a buffer."""
    done = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_statistics(codec: CmCodec) -> None:
    stats = Stats()
    codec.encode_batch(ITEMS, Run(2, stats=stats))
    assert set(stats.stages) == {"cm"}  # none of the model's
    assert stats.stages["cm"].bytes_in == sum(len(data) for data, _ in ITEMS)


KINDS_OF_PROFILES = [("sorted", 1), ("rows", 21), ("records", 0), ("english", 0), ("x86", 254), ("arm", 255)]


@pytest.mark.parametrize(("name", "profile"), KINDS_OF_PROFILES)
def test_golden_texts_have_all_kinds_of_profiles(name: str, profile: int) -> None:
    (text,) = [text for text in vectors.texts() if text.name == f"cm/{name}"]
    bits = coder_decode(text.coded, [2**16] * 8)
    assert int("".join(map(str, bits)), 2) == profile
