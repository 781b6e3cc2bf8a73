"""The codec image: every format comes back, is found, and pays; payloads and headers that lie do no harm."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading

import media
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import within

from zllm._native import Cancel
from zllm._native.media import ImageRun, image_decode, image_encode, image_measure
from zllm.codecs.base import Run
from zllm.codecs.image import ImageCodec
from zllm.codecs.media import pictures
from zllm.errors import DamagedError, UnsupportedVersionError, UsageError
from zllm.format.category import Category
from zllm.planner.categories import categorize
from zllm.planner.levels import get_level
from zllm.planner.planner import Group, Planner

RNG = random.Random(5)
PICTURE = bytes(media.picture(160, 90, 3))
PPM = media.pixmap(PICTURE, 160, 90, 3)


@pytest.mark.parametrize("number", range(len(media.images())))
def test_every_format_comes_back(number: int) -> None:
    data = media.images()[number]
    found = pictures.runs(memoryview(data), ())
    assert sum(run.rows for run in found) == 30 and {run.columns for run in found} == {61}
    payload = ImageCodec().encode(data)
    assert payload[0] == 1 and ImageCodec().decode(payload, len(data)) == data
    assert len(payload) < 0.8 * len(zstandard.ZstdCompressor(19).compress(data))
    assert ImageCodec().recognises(data) or len(data) < 3100  # a palette is most of a small one
    if data[:2] in (b"BM", b"P5", b"P6", b"P7", b"II", b"MM"):
        assert categorize("x", memoryview(data)) is Category.IMAGE
    assert categorize("x.tga", memoryview(b"\0\0\2" + RNG.randbytes(500))) is Category.IMAGE


@pytest.mark.parametrize(
    ("planes", "width", "phase"), [(3, 1, 0), (3, 1, 1), (1, 1, 0), (1, 1, 1), (1, 2, 0), (3, 2, 0)]
)
def test_rows_without_a_header_are_measured(planes: int, width: int, phase: int) -> None:
    values = media.picture(150, 120, planes, 8 if width == 1 else 11)
    data = (bytes(values) if width == 1 else media.samples16(values, big=False))[phase:]
    found = image_measure(data)
    assert found is not None and found.row % (150 * planes * width) == 0 and found.width == width
    payload = ImageCodec().encode(data)
    assert ImageCodec().decode(payload, len(data)) == data
    assert len(payload) < 0.8 * len(zstandard.ZstdCompressor(19).compress(data))


@pytest.mark.parametrize(
    "data", [b"", bytes(100), RNG.randbytes(60_000), b"the quick brown fox " * 2000], ids=["no", "few", "noise", "text"]
)
def test_what_has_no_pixels_is_not_taken_for_them(data: bytes) -> None:
    assert not ImageCodec().recognises(data)
    payload = ImageCodec().encode(data)
    assert len(payload) == len(data) + bool(data) and ImageCodec().decode(payload, len(data)) == data


@pytest.mark.parametrize("kind", ["noise", "one colour", "extremes", "a pattern"])
@pytest.mark.parametrize("width", [1, 2])
def test_pixels_of_any_value(kind: str, width: int) -> None:
    size = 40 * 50 * 3 * width
    data = {
        "noise": RNG.randbytes(size),
        "one colour": b"\x7f" * size,
        "extremes": b"".join(RNG.choice([b"\0", b"\xff"]) * width for _ in range(size // width)),
        "a pattern": (b"\1\2\3\4\5\6" * 20 * width)[: 120 * width] * 50,
    }[kind]
    coded = image_encode(data, [ImageRun(0, 50, 40, 3, width)])
    assert image_decode(coded, size) == data
    assert len(coded) < {"noise": 1.06, "one colour": 0.02, "extremes": 0.8, "a pattern": 0.03}[kind] * size + 60


def test_repeated_icons_cost_little() -> None:
    """Pixels that came after the same neighbours before are foretold."""
    icon = [RNG.randrange(256) for _ in range(16 * 16)]
    rows = [bytes(icon[16 * (y % 16) : 16 * (y % 16) + 16]) * 12 for y in range(96)]
    assert len(image_encode(b"".join(rows), [ImageRun(0, 96, 192, 1)])) < 0.06 * 96 * 192


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 17, 18, 19, 30, 53, 54, 60, 500, 5000])
def test_truncated_files(cut: int) -> None:
    for data in media.images()[8:14]:
        assert ImageCodec().decode(ImageCodec().encode(data[:cut]), min(cut, len(data))) == data[:cut]


@settings(max_examples=150, deadline=None)
@given(number=st.integers(0, 21), at=st.integers(0, 80), byte=st.integers(0, 255), end=st.booleans())
def test_headers_that_lie(number: int, at: int, byte: int, end: bool) -> None:
    data = bytearray(media.images()[number])
    data[-1 - at if end else at] = byte
    assert ImageCodec().decode(ImageCodec().encode(data), len(data)) == data


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=900),
    columns=st.integers(1, 20),
    form=st.integers(0, 15),
    raw=st.integers(0, 50),
    padding=st.integers(0, 5),
)
def test_any_bytes_may_be_called_pixels(data: bytes, columns: int, form: int, raw: int, padding: int) -> None:
    run = ImageRun(raw, 1, columns, 1 + (form & 3), 1 + (form >> 2 & 1), bool(form >> 3), padding)
    rows = (len(data) - raw) // run.row
    runs = [run._replace(rows=rows)] if rows > 0 else []
    assert image_decode(image_encode(data, runs), len(data)) == data


def test_members_of_a_frame_each_have_their_header() -> None:
    files = [PPM, media.images()[0], b"not a picture", PPM, media.images()[16]]
    data = b"".join(files)
    boundaries = [sum(map(len, files[: n + 1])) for n in range(len(files) - 1)]
    assert [run.columns for run in pictures.runs(memoryview(data), boundaries)] == [160, 61, 160, 61]
    payload = ImageCodec().encode(data, boundaries)
    assert ImageCodec().decode(payload, len(data), boundaries) == data
    assert len(payload) < sum(len(ImageCodec().encode(file)) for file in files)


@pytest.mark.parametrize(
    "run",
    [
        ImageRun(0, 0, 10, 1), ImageRun(0, 11, 10, 1), ImageRun(1, 10, 10, 1), ImageRun(101, 1, 1, 1),
        ImageRun(0, 1 << 63, 10, 1), ImageRun(0, 1, 0, 1), ImageRun(0, 1, 1, 0), ImageRun(0, 1, 1, 5),
        ImageRun(0, 1, 1, 1, 0), ImageRun(0, 1, 1, 1, 3), ImageRun(0, 1, 1, 1, 1, big=False, padding=100),
    ],
)  # fmt: skip
def test_runs_that_do_not_fit_are_refused(run: ImageRun) -> None:
    with pytest.raises(UsageError):
        image_encode(bytes(100), [run])


def test_rows_that_are_too_long_are_refused() -> None:
    """A few bytes would ask for gigabytes."""
    with pytest.raises(UsageError):
        image_encode(bytes(1 << 20), [ImageRun(0, 1, (1 << 18) + 1, 1)])
    with pytest.raises(DamagedError):
        ImageCodec().decode(b"\1\1\0\3\x81\x80\x10\0\0" + bytes(100), 1 << 20)


def test_damaged_payloads_are_refused_or_in_bounds() -> None:
    files = [media.images()[8], PPM[:2000], b"odd", media.images()[9]]
    data = b"".join(files)
    boundaries = [sum(map(len, files[: n + 1])) for n in range(len(files) - 1)]
    payload = ImageCodec().encode(data, boundaries)
    refused = 0
    for number in range(400):
        damaged = bytearray(payload[: RNG.randrange(1, len(payload) + 1)])
        for _ in range(1 + number % 3):
            damaged[RNG.randrange(min(len(damaged), 30 if number % 2 else len(damaged)))] ^= 1 << RNG.randrange(8)
        try:
            assert len(ImageCodec().decode(bytes(damaged), len(data), boundaries)) == len(data)
        except (DamagedError, UnsupportedVersionError):
            refused += 1
    assert 60 < refused < 400


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200), size=st.integers(1, 5000))
def test_junk_is_refused_or_in_bounds(junk: bytes, size: int) -> None:
    with contextlib.suppress(DamagedError):
        assert len(ImageCodec().decode(b"\1" + junk, size)) == size


def test_threads_change_nothing() -> None:
    items: list[tuple[bytes, tuple[int, ...]]] = [(PPM, ()), (b"", ()), (media.images()[3], ()), (b"no", ())]
    done: list[int] = []
    expected = [ImageCodec().encode(*item) for item in items]
    assert within(60, lambda: ImageCodec().encode_batch(items, Run(3, done.append))) == expected
    assert sum(done) == sum(len(data) for data, _ in items)


def test_cancelled() -> None:
    flag = Cancel()
    flag.set()
    with pytest.raises(KeyboardInterrupt):
        image_encode(PPM, [ImageRun(0, 1, 10, 1)], cancel=flag)
    with pytest.raises(KeyboardInterrupt):
        image_decode(b"\1\0", 9, cancel=flag)
    run = Run(1, cancelled=threading.Event())
    threading.Timer(0.2, run.cancelled.set).start()
    large = media.pixmap(RNG.randbytes(3_000_000), 1000, 1000, 3)
    with pytest.raises(KeyboardInterrupt):
        within(10, lambda: ImageCodec().encode_batch([(large, ())] * 4, run))


@pytest.mark.parametrize(("level", "codec"), [(2, 2), (4, 2), (5, 6), (6, 6), (9, 6)])
def test_levels(level: int, codec: int) -> None:
    ((frame,),) = Planner(get_level(level)).encode([Group(Category.IMAGE, memoryview(PPM))])
    assert frame.codec_id == codec


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "72321ef525ceba5c"),
        (5, "a236356fcaa8b8c0"),
        (10, "730aa5fef89602c1"),
        (13, "d6a19f830e70961d"),
        (18, "6b13cf46e96d98a6"),
        (19, "be27280b823f46f2"),
        (21, "d87dd9b796618bdc"),
    ],
)
def test_payloads_are_the_same_for_ever(number: int, expected: str) -> None:
    """SHA-256 of the payload; a change of it needs another version of the arithmetic."""
    assert hashlib.sha256(ImageCodec().encode(media.images()[number])).hexdigest()[:16] == expected
