"""The codec rebuild: what zlib packed comes back bit for bit, and pays; what it did not pack stays as it is."""

from __future__ import annotations

import contextlib
import gzip
import random
import time
import zlib

import packed
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zllm._native.rebuild import deflate_find, rebuild_join
from zllm.codecs.base import Run
from zllm.codecs.media.deflated import Allowance, streams
from zllm.codecs.rebuild import RebuildCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import DamagedError, UnsupportedVersionError, ZllmError
from zllm.format.category import Category
from zllm.format.wire import varints
from zllm.planner.levels import get_level
from zllm.planner.planner import Group, Planner

RNG = random.Random(21)
TEXT = packed.text(60_000)
FEW = bytes(RNG.choices(range(3), k=9000))
MIXED = packed.text(20_000) + RNG.randbytes(20_000) + bytes(9000) + b"abcab" * 900 + FEW
RECIPE = 3
"""Bytes of a recipe of what zlib writes: parameters, and no block that is strange."""
ITEMS = "<item>one of many</item><price>{}</price>"
SHEET = "".join(ITEMS.format(RNG.randrange(10_000)) for _ in range(900)).encode()
OFFICE = packed.zipped({"content.xml": SHEET, "styles.xml": TEXT[:9000], "picture.png": packed.png(40, 30)})


GZIP = b"\x1f\x8b\x08" + bytes(6) + b"\xff"


def container(data: bytes) -> bytes:
    """A payload that unpacks something: of the form of pieces, not of plain data."""
    payload = RebuildCodec().encode(data)
    assert payload[0] == 1
    assert RebuildCodec().decode(payload, len(data)) == data
    return payload


@pytest.mark.parametrize("strategy", range(5))
@pytest.mark.parametrize("level", range(1, 10))
def test_zlib_is_foretold(level: int, strategy: int) -> None:
    for data in (TEXT, MIXED, b"", b"x", b"xyz" * 3):
        coded = packed.deflate(data, level, 8, strategy)
        recipe = deflate_find(coded, data)
        assert recipe is not None and len(recipe) == RECIPE, (len(data), recipe)


@pytest.mark.parametrize("memory", range(1, 10))
@pytest.mark.parametrize("window", [9, 12, 15])
def test_small_windows_and_memories(memory: int, window: int) -> None:
    coded = packed.deflate(TEXT, 6, memory, 0, window)
    recipe = deflate_find(coded, TEXT, window=window)
    assert recipe is not None
    assert len(recipe) == RECIPE or memory < 3  # such blocks are so small that several parameters make most of them


def test_stored_blocks_and_other_encoders() -> None:
    """What differs from zlib is in the recipe; if it is too much, there is none."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [packer.compress(TEXT[:9000]), packer.flush(zlib.Z_SYNC_FLUSH), packer.compress(TEXT[9000:30_000])]
    parts += [packer.flush(zlib.Z_SYNC_FLUSH), packer.compress(TEXT[30_000:]), packer.flush()]
    recipe = deflate_find(b"".join(parts), TEXT)
    assert recipe is not None and RECIPE < len(recipe) < 60
    stored = packed.deflate(TEXT, 0)
    assert len(deflate_find(stored, TEXT) or b"") in range(RECIPE, 40)
    mixture = b"".join(packed.deflate(TEXT, level)[: 9000 if level == 9 else None] for level in (9, 1))
    assert deflate_find(mixture, TEXT) is None, "no stream"
    coded = packed.deflate(TEXT)
    assert deflate_find(coded, TEXT[:-1]) is None and deflate_find(coded, TEXT + b"x") is None, "of other data"


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (OFFICE, 0.8),
        (gzip.compress(TEXT, mtime=0), 0.85),
        (zlib.compress(TEXT), 0.85),
        (b"%PDF-1.5\n1 0 obj <<>> stream\r\n" + zlib.compress(SHEET) + b"\nendstream endobj\n%%EOF\n", 0.8),
        (packed.png(120, 90), 0.85),
        (packed.png(120, 90, 6, level=9), 0.85),
        (packed.zipped({"a.docx": OFFICE, "b.bin": MIXED, "c.txt": TEXT}), 0.9),
    ],
    ids=["office", "gzip", "zlib", "pdf", "png", "png-alpha", "nested"],
)
def test_containers_pay(data: bytes, most: float) -> None:
    payload = container(data)
    assert len(payload) < most * min(len(data), len(ZstdCodec(19).encode(data)))
    assert RebuildCodec().recognises(data)


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("depth", [1, 8, 16])
def test_all_kinds_of_images(colour: int, depth: int) -> None:
    if depth == 16 and colour == 3:
        pytest.skip("there are no such images")
    container(packed.png(37, 23, colour, depth, piece=100 + depth))


def test_images_whose_chunks_are_damaged_or_cut_stay() -> None:
    whole = packed.png(60, 60)
    for data in (whole[:-60], whole[:200] + b"?" + whole[201:], whole[20:]):
        assert not [one for one in streams(memoryview(data)) if one.chunks]
        assert RebuildCodec().decode(RebuildCodec().encode(data), len(data)) == data


def test_many_formats_in_a_frame() -> None:
    data = b"".join(packed.png(8 + n, 9, seed=n) for n in range(40))
    container(data)


def test_frames_of_frames_end() -> None:
    data = SHEET
    for depth in range(4):
        data = packed.zipped({f"{depth}.bin": data + RNG.randbytes(99)})
        container(data)


def test_bombs_are_left_alone() -> None:
    bomb = zlib.compress(bytes(80 << 20), 9)
    before = time.process_time()
    payload = RebuildCodec().encode(bomb + bomb)
    assert time.process_time() - before < 20
    assert payload[0] == 0 and RebuildCodec().decode(payload, 2 * len(bomb)) == bomb + bomb


def seconds_to_encode(data: bytes) -> float:
    """What it takes of the processor; the data comes back."""
    before = time.process_time()
    payload = RebuildCodec().encode(data)
    taken = time.process_time() - before
    assert RebuildCodec().decode(payload, len(data)) == data
    return taken


def empty_blocks(count: int) -> bytes:
    """A stream of so many empty blocks, a multiple of 4: 10 bits each, for each of which codes would be chosen."""
    bits = ["0100000000"] * (count - 1) + ["1100000000"]
    return int("".join(bits)[::-1], 2).to_bytes(count * 10 // 8, "little")


def test_streams_of_empty_blocks_take_no_time() -> None:
    """Before they were counted, a second for each 40,000 of them, and 150 bytes of memory each."""
    stream = empty_blocks(200_000)
    assert zlib.decompress(stream, -15) == b""
    assert deflate_find(stream, b"") is None
    assert deflate_find(empty_blocks(16), b"") is not None, "some are allowed"
    assert seconds_to_encode(GZIP + stream + bytes(8)) < 1


def test_plans_of_empty_blocks_are_refused() -> None:
    """A few bytes of zstd would make millions of them."""
    for count, fits in ((16, True), (20, False)):
        blocks = b"\0\1" * (count - 1) + b"\0\5"
        recipe = b"\6\x08" + varints([len(blocks)]) + blocks
        plan = varints([1, 0, 1, 0, len(recipe)]) + recipe
        with contextlib.nullcontext() if fits else pytest.raises(DamagedError):
            assert rebuild_join(plan, b"", count * 10 // 8) == empty_blocks(count)


def test_streams_that_are_hard_to_search_are_left_alone() -> None:
    """Two letters in a random order: each search at level 9 looks at 4,096 places."""
    hard = bytes(RNG.choices(b"ab", k=60_000))
    stream = packed.deflate(hard, 9)
    assert deflate_find(stream, hard) is None
    assert seconds_to_encode(GZIP + stream + bytes(8)) < 4


def test_many_signatures_before_one_stream() -> None:
    """Each of them says that its data begins at the same place: read again for each, it would be quadratic."""
    count, blocks = 3000, b"\0\0\0\xff\xff" * 200_000
    local = b"PK\3\4" + bytes(4) + b"\x08" + bytes(17)
    zips = b"".join(local + (30 * rest).to_bytes(4, "little") for rest in range(1000, -1, -1))
    idat = RNG.randbytes(1 << 20)
    chunks = b"".join(
        b"\x89PNG\r\n\x1a\n" + (20 * rest).to_bytes(4, "big") + b"skipsums" for rest in range(count - 1, -1, -1)
    )
    images = chunks + len(idat).to_bytes(4, "big") + b"IDAT" + idat + zlib.crc32(b"IDAT" + idat).to_bytes(4, "big")
    for data in (zips + blocks, images):
        allowance = Allowance(len(data))
        assert not list(streams(memoryview(data), allowance))
        assert -2 * len(data) <= allowance.work <= 0, "no more than one reading too much"


def test_what_has_no_streams_is_not_taken_for_them() -> None:
    starts = b"PK\3\4", b"x\x9c" * 500, b"\x1f\x8b\x08" * 90, packed.png(9, 9)[:40]
    for data in (RNG.randbytes(50_000), TEXT, b"", *starts):
        assert not RebuildCodec().recognises(data)
        assert RebuildCodec().decode(RebuildCodec().encode(data), len(data)) == data


@pytest.mark.parametrize("level", [4, 5, 6])
def test_it_is_chosen_from_level_5_on(level: int) -> None:
    ((frame,),) = Planner(get_level(level)).encode([Group(Category.COMPRESSED, memoryview(OFFICE))])
    assert (frame.codec_id == RebuildCodec.id) == (level >= 5)


def test_a_large_member_is_not_cut() -> None:
    data = packed.zipped({f"{n}.txt": packed.text(70_000, n) for n in range(3)}, level=1)
    small = get_level(5).__class__(**{**get_level(5).__dict__, "alone_frame": 64 << 10})
    ((frame, *more),) = Planner(small).encode([Group(Category.COMPRESSED, memoryview(data))])
    assert frame.codec_id == RebuildCodec.id and not more


def test_wrong_payloads() -> None:
    codec = RebuildCodec()
    with pytest.raises(UnsupportedVersionError):
        codec.decode(b"\2\1\0\1\1x", 9)
    for payload in (b"", b"\0abc", b"\1", b"\1\0", b"\1\1\0\0\0", b"\1\1\4\1\0", b"\1\1\3\1\1x", b"\1\1\0\1\1xx"):
        with pytest.raises(DamagedError):
            codec.decode(payload, 9)
    deep = b"\1" + varints([1, 8, 9, 11]) + b"\1" + varints([1, 8, 9, 6]) + b"\1\1\0\1\1x"
    with pytest.raises(DamagedError, match="codec 8 is not for its pieces"):
        codec.decode(deep, 9)


PLANS = [
    (b"", b""),
    (b"\1\1", b""),  # a group longer than what is there
    (b"\1\1\0\2", b"x"),  # a copy of more than a group
    (b"\1\1\4\1", b"x"),  # of no such group
    (b"\1\x81\0\0\1", b"x"),  # a number in more bytes than it takes
    (b"\1\1\1\1\3\6\x88\0", b"x"),  # a window that there is not
    (b"\1\1\1\1\3\x0f\7\0", b"x"),  # a level
    (b"\1\1\1\1\5\6\7\2\0\xff", b"x"),  # a block that does not end
    (b"\1\1\1\1\6\6\7\0\0\5\1", b"x"),  # a match before the data
    (b"\1\2\3\2\x11\0\0", b"xx"),  # rows longer than the image
    (b"\2\1\1\7\2\x11\x78\x9c\3\6\7\0\0", b"\5x"),  # no such filter
]


@pytest.mark.parametrize(("plan", "data"), PLANS)
def test_plans_that_lie_are_refused(plan: bytes, data: bytes) -> None:
    with pytest.raises(DamagedError):
        rebuild_join(plan, data, 40)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_damaged_payloads_fail_or_decode(seed: int) -> None:
    rng = random.Random(seed)
    damaged = bytearray(SMALL)
    for _ in range(rng.randrange(1, 4)):
        place = rng.choice([rng.randrange(40), rng.randrange(len(damaged))])
        damaged[min(place, len(damaged) - 1)] = rng.randrange(256)
    with contextlib.suppress(ZllmError):
        assert len(RebuildCodec().decode(bytes(damaged), len(SMALL_DATA))) == len(SMALL_DATA)


SMALL_DATA = packed.png(12, 12) + packed.zipped({"a": TEXT[:600]}) + zlib.compress(TEXT[:400])
SMALL = RebuildCodec().encode(SMALL_DATA)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_any_plan_fails_or_makes_something(seed: int) -> None:
    """The plan itself, which a frame's checksum and codec hide from damage to a payload."""
    rng = random.Random(seed)
    data = packed.deflate(TEXT[:700], 1 + seed % 9)
    recipe = deflate_find(data, TEXT[:700])
    assert recipe is not None
    strange = recipe[:2] + bytes(rng.choices(range(9), k=rng.randrange(9)))
    plan = bytearray(varints([2, 0, 700, 1 << 2 | 1, 700, len(strange)]) + strange)
    plan[rng.randrange(len(plan))] ^= 1 << rng.randrange(8)
    with contextlib.suppress(DamagedError):
        rebuild_join(bytes(plan), TEXT[:700], len(data))


def test_the_sum_of_pixels_is_kept() -> None:
    """Of many small images, adding all of them up for each would be quadratic."""
    data = memoryview(b"".join(packed.png(8 + n % 3, 9, seed=n) for n in range(60)))
    plan = RebuildCodec()._plan(data, Run())
    assert len(plan.formats) == 3
    assert plan.pixels == sum(len(piece) for group in plan.images() for piece in plan.groups[group]) > 0
