"""The codec pcm: every format comes back, is found, and pays; payloads and headers that lie do no harm."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import threading

import media
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import within

from zllm._native import Cancel, Counter
from zllm._native.media import PcmRun, pcm_decode, pcm_encode, pcm_measure
from zllm.codecs.base import Run
from zllm.codecs.media import audio
from zllm.codecs.pcm import PcmCodec
from zllm.errors import DamagedError, UnsupportedVersionError, UsageError
from zllm.format.category import Category
from zllm.planner.categories import categorize
from zllm.planner.levels import get_level
from zllm.planner.planner import Group, Planner

RNG = random.Random(3)
FORMS = [0, 1]


def music(channels: int = 2, width: int = 2, count: int = 6000, **packing: bool) -> bytes:
    return media.pack(media.waves(count, channels, 8 * width), width, **packing)


WAV = media.wave(music(), 2, 2)


def entropy_coded(data: bytes) -> int:
    return len(zstandard.ZstdCompressor(19).compress(data))


@pytest.mark.parametrize("fast", FORMS)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_wav_of_every_width_and_number_of_channels(width: int, channels: int, fast: int) -> None:
    data = media.wave(music(channels, width, 8000 // channels, centred=width == 1), channels, width)
    (run,) = audio.runs(memoryview(data), ())
    assert run == PcmRun(44, 8000 // channels, width, channels, 0, big=False, centred=width == 1)
    codec = PcmCodec(fast)
    payload = codec.encode(data)
    assert codec.decode(payload, len(data)) == data
    assert len(payload) < 0.93 * entropy_coded(data)


@pytest.mark.parametrize(
    ("data", "start", "big"),
    [
        (media.wave(music(), 2, 2, tag=0xFFFE), 68, False),
        (media.wave(music(), 2, 2, rf64=True), 44, False),
        (media.wave(music(), 2, 2, extra=b"LIST\x03\0\0\0abc\0junk\0\0\0\0"), 64, False),
        (media.aiff(music(big=True), 2, 2), 54, True),
        (media.aiff(music(), 2, 2, b"sowt"), 60, False),
        (media.aiff(music(big=True), 2, 2, b"twos"), 60, True),
        (b".snd" + b"".join(n.to_bytes(4, "big") for n in (24, 24000, 3, 44100, 2)) + music(big=True), 24, True),
    ],
    ids=["extensible", "RF64", "chunks before", "AIFF", "AIFC sowt", "AIFC twos", "AU"],
)
def test_headers(data: bytes, start: int, big: bool) -> None:
    assert audio.runs(memoryview(data), ()) == [PcmRun(start, 6000, 2, 2, 0, big, centred=False)]
    payload = PcmCodec().encode(data)
    assert PcmCodec().decode(payload, len(data)) == data and len(payload) < 0.9 * entropy_coded(data)
    assert PcmCodec().recognises(data) and categorize("x", memoryview(data)) is Category.AUDIO


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("phase", [0, 1, 3])
def test_samples_without_a_header_are_measured(width: int, channels: int, big: bool, phase: int) -> None:
    data = music(channels, width, 6000, big=big)[phase:]
    found = pcm_measure(data)
    assert found is not None and found.width == width and found.big == (big and width > 1)
    assert found.raw == -phase % width and not found.centred
    assert found.channels % channels == 0 and found.frames == (len(data) - found.raw) // found.frame


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, RNG.randbytes(50_000), b"the quick brown fox " * 500],
    ids=["nothing", "few", "noise", "text"],
)
def test_what_is_not_audio_is_not_taken_for_it(data: bytes) -> None:
    assert not PcmCodec().recognises(data)
    payload = PcmCodec().encode(data)
    assert len(payload) == len(data) + bool(data) and PcmCodec().decode(payload, len(data)) == data


@pytest.mark.parametrize("fast", FORMS)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["noise", "silence", "extremes", "steps"])
def test_samples_of_any_value(kind: str, width: int, fast: int) -> None:
    size = 2 * width * 3000
    lowest, highest = (
        (1 << (8 * width - 1)).to_bytes(width, "little"),
        ((1 << (8 * width - 1)) - 1).to_bytes(width, "little"),
    )
    data = {
        "noise": RNG.randbytes(size),
        "silence": bytes(size),
        "extremes": (lowest + highest) * 3000,
        "steps": b"".join((lowest if i // 100 % 2 else highest) * 2 for i in range(3000)),
    }[kind]
    run = PcmRun(0, 3000, width, 2)
    coded = pcm_encode(data, [run], fast=bool(fast))
    assert pcm_decode(coded, size) == data
    most = {"noise": 1.06, "silence": 0.01, "extremes": 0.6 if fast else 0.2, "steps": 0.6 if fast else 0.4}[kind]
    assert len(coded) < most * size + 40


@pytest.mark.parametrize("shift", [1, 3, 8, 9, 15])
def test_lowest_bits_that_are_not_used(shift: int) -> None:
    samples = [x >> shift << shift for x in media.waves(8000, 1, 16)]
    data = media.wave(media.pack(samples, 2), 1, 2)
    (run,) = audio.runs(memoryview(data), ())
    assert run.shift == shift
    payload = PcmCodec().encode(data)
    assert PcmCodec().decode(payload, len(data)) == data
    if shift < 15:
        assert len(payload) < len(pcm_encode(data, [run._replace(shift=0)]))
    with pytest.raises(UsageError):
        pcm_encode(data, [run._replace(shift=shift + 1)] if shift < 15 else [run._replace(shift=16)])


def test_channels_that_are_the_same_cost_nothing() -> None:
    once = media.waves(6000, 1, 16)
    both = media.pack([x for x in once for _ in range(2)], 2)
    assert len(pcm_encode(both, [PcmRun(0, 6000, 2, 2)])) < 1.03 * len(
        pcm_encode(media.pack(once, 2), [PcmRun(0, 6000, 2, 1)])
    )


@pytest.mark.parametrize("cut", [0, 1, 4, 11, 12, 20, 35, 43, 44, 45, 47, 48, 5000])
def test_truncated_files(cut: int) -> None:
    data = WAV[:cut]
    for fast in FORMS:
        assert PcmCodec(fast).decode(PcmCodec(fast).encode(data), len(data)) == data


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 67), byte=st.integers(0, 255), form=st.integers(0, 2))
def test_headers_that_lie(at: int, byte: int, form: int) -> None:
    data = bytearray([WAV, media.aiff(music(big=True), 2, 2), media.wave(music(), 2, 2, tag=0xFFFE)][form][:3000])
    data[at] = byte
    codec = PcmCodec(1)
    assert codec.decode(codec.encode(data), len(data)) == data


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=900),
    width=st.integers(1, 4),
    channels=st.integers(1, 8),
    flags=st.integers(0, 7),
    raw=st.integers(0, 50),
)
def test_any_bytes_may_be_called_samples(data: bytes, width: int, channels: int, flags: int, raw: int) -> None:
    count = (len(data) - raw) // (width * channels)
    runs = [PcmRun(raw, count, width, channels, 0, bool(flags & 1), bool(flags & 2))] if count > 0 else []
    assert pcm_decode(pcm_encode(data, runs, fast=bool(flags & 4)), len(data)) == data


def test_members_of_a_frame_each_have_their_header() -> None:
    files = [
        media.wave(media.pack(media.waves(3000, channels, 8 * width, seed), width, centred=width == 1), channels, width)
        for seed, (channels, width) in enumerate([(1, 2), (1, 2), (2, 2), (1, 1), (1, 2)], 1)
    ]
    files.insert(2, b"not audio at all")
    data = b"".join(files)
    boundaries = [sum(map(len, files[: n + 1])) for n in range(len(files) - 1)]
    assert [run[2:4] for run in audio.runs(memoryview(data), boundaries)] == [(2, 1), (2, 1), (2, 2), (1, 1), (2, 1)]
    payload = PcmCodec().encode(data, boundaries)
    assert PcmCodec().decode(payload, len(data), boundaries) == data
    assert len(payload) < sum(len(PcmCodec().encode(file)) for file in files)


def test_formats_that_change_all_the_time_are_given_up() -> None:
    files = [media.wave(bytes(4 * 2 * 10), 2, 2 + n % 2) for n in range(60)]
    data = b"".join(files)
    boundaries = [sum(map(len, files[: n + 1])) for n in range(len(files) - 1)]
    found = audio.runs(memoryview(data), boundaries)
    assert sum(a[2:] != b[2:] for a, b in itertools.pairwise(found)) == 8
    assert PcmCodec().decode(PcmCodec().encode(data, boundaries), len(data), boundaries) == data
    mixed = [PcmRun(0, 1, 1 + n % 2, 1) for n in range(11)]
    with pytest.raises(UsageError):
        pcm_encode(bytes(100), mixed)


@pytest.mark.parametrize(
    "run",
    [
        PcmRun(0, 0, 2, 1), PcmRun(0, 51, 2, 1), PcmRun(1, 50, 2, 1), PcmRun(101, 1, 1, 1), PcmRun(0, 1 << 63, 4, 8),
        PcmRun(0, 1, 0, 1), PcmRun(0, 1, 5, 1), PcmRun(0, 1, 1, 0), PcmRun(0, 1, 1, 9), PcmRun(0, 1, 1, 1, 8),
    ],
)  # fmt: skip
def test_runs_that_do_not_fit_are_refused(run: PcmRun) -> None:
    with pytest.raises(UsageError):
        pcm_encode(bytes(100), [run])


@pytest.mark.parametrize("fast", FORMS)
def test_damaged_payloads_are_refused_or_in_bounds(fast: int) -> None:
    files = [WAV[:1200], WAV[:300], b"odd", media.wave(music(1, 3, 200), 1, 3)]
    data = b"".join(files)
    boundaries = [1200, 1500, 1503]
    payload = PcmCodec(fast).encode(data, boundaries)
    refused = 0
    for number in range(600):
        damaged = bytearray(payload[: RNG.randrange(1, len(payload) + 1)])
        for _ in range(1 + number % 3):
            damaged[RNG.randrange(min(len(damaged), 30 if number % 2 else len(damaged)))] ^= 1 << RNG.randrange(8)
        try:
            assert len(PcmCodec(fast).decode(bytes(damaged), len(data), boundaries)) == len(data)
        except (DamagedError, UnsupportedVersionError):
            refused += 1
    assert 100 < refused < 600


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200), size=st.integers(1, 5000))
def test_junk_is_refused_or_in_bounds(junk: bytes, size: int) -> None:
    with contextlib.suppress(DamagedError):
        assert len(PcmCodec().decode(b"\1" + junk, size)) == size


def test_what_claims_too_much_is_refused_at_once() -> None:
    with pytest.raises(DamagedError, match="claim to be"):
        PcmCodec().decode(b"\1\2\0\2\0\0", 1 << 20)
    with pytest.raises(DamagedError, match="more than one may have"):
        PcmCodec().decode(b"\1", (64 << 20) + 1)
    with pytest.raises(DamagedError):  # 2^30 runs
        PcmCodec().decode(b"\1\x80\x80\x80\x80\x08" + bytes(100), 1000)
    with pytest.raises(UnsupportedVersionError, match="version 2 of their arithmetic, this program has 1"):
        PcmCodec().decode(b"\2\2\0\2\0\0", 100)


def test_silence_is_not_shorter_than_readers_want() -> None:
    data = media.wave(bytes(8 << 20), 2, 2)
    payload = PcmCodec(1).encode(data)
    assert PcmCodec(1).decode(payload, len(data)) == data and len(payload) < 2000


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_progress(threads: int) -> None:
    items: list[tuple[bytes, tuple[int, ...]]] = [(WAV, ()), (b"", ()), (WAV[:3000] + b"tail", (3000,)), (b"no", ())]
    done: list[int] = []
    expected = [PcmCodec().encode(*item) for item in items]
    assert within(60, lambda: PcmCodec().encode_batch(items, Run(threads, done.append))) == expected
    counter = Counter()
    assert pcm_decode(expected[0], len(WAV), counter=counter) == WAV and counter.value == len(WAV)
    back = [(payload, len(data), cuts) for payload, (data, cuts) in zip(expected, items, strict=True)]
    assert PcmCodec().decode_batch(back, Run(threads)) == [data for data, _ in items]


def test_cancelled() -> None:
    flag = Cancel()
    flag.set()
    with pytest.raises(KeyboardInterrupt):
        pcm_encode(WAV, [PcmRun(44, 10, 2, 2)], cancel=flag)
    with pytest.raises(KeyboardInterrupt):
        pcm_decode(b"\1\0", 9, cancel=flag)
    run = Run(1, cancelled=threading.Event())
    threading.Timer(0.2, run.cancelled.set).start()
    large = media.wave(music() * 200, 2, 2)
    with pytest.raises(KeyboardInterrupt):
        within(10, lambda: PcmCodec().encode_batch([(large, ())] * 4, run))


@pytest.mark.parametrize(("level", "codec"), [(1, 0), (2, 2), (3, 5), (4, 5), (5, 5), (6, 5), (9, 5)])
def test_levels(level: int, codec: int) -> None:
    ((frame,),) = Planner(get_level(level)).encode([Group(Category.AUDIO, memoryview(WAV))])
    assert frame.codec_id == codec
    if codec == 5:
        strong = len(PcmCodec().encode(WAV)) == len(frame.payload)
        assert strong == (level >= 5) and PcmCodec().decode(frame.payload, len(WAV)) == WAV


def test_noise_is_not_stored_larger() -> None:
    """What zstd cannot shrink is not left alone if a header says that it is audio, but nothing is lost by it."""
    data = media.wave(RNG.randbytes(40_000), 1, 2)
    ((frame,),) = Planner(get_level(6)).encode([Group(Category.AUDIO, memoryview(data))])
    assert len(frame.payload) <= len(data)


@pytest.mark.parametrize(
    ("fast", "width", "channels", "expected"),
    [
        (0, 1, 1, "e592652a0fc49521"),
        (0, 2, 2, "15943329a06f2e13"),
        (0, 3, 6, "794c08b1e4f0c7d5"),
        (0, 4, 1, "ca4d176facb35219"),
        (1, 1, 2, "9a1eddd58c2cf8d1"),
        (1, 2, 2, "23c58bf6c4b21b0b"),
        (1, 3, 1, "484d152697d05cb9"),
        (1, 4, 2, "8374c8d767cd0dd1"),
    ],
)
def test_payloads_are_the_same_for_ever(fast: int, width: int, channels: int, expected: str) -> None:
    """SHA-256 of the payload; a change of it needs another version of the arithmetic."""
    data = media.wave(music(channels, width, 3000, centred=width == 1), channels, width) + b"tail"
    assert hashlib.sha256(PcmCodec(fast).encode(data)).hexdigest()[:16] == expected
