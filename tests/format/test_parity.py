"""Parity: any blocks of a group up to as many as it has parity come back, and the specified sum is what is written."""

from __future__ import annotations

import random

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

import zllm
from zllm.format import crcsearch, envelope, parity, repair
from zllm.format.parity import Shape

SEED = 7


def mended(good: bytes, bad: bytes, shape: Shape, bodies: list[bytes]) -> bytes:
    parts = [parity.unpack(body) for body in bodies]
    hashes = parity.hashes_of(good, shape, SEED)
    wrong = [
        n for n, pair in enumerate(zip(hashes, parity.hashes_of(bad, shape, SEED), strict=True)) if len(set(pair)) > 1
    ]
    out = bytearray(bad)
    for number, block in parity.rebuild(bad, shape, parts, wrong, repair.Budget()).items():
        at = number * shape.block
        out[at : at + shape.block] = block[: len(out) - at]
    return bytes(out)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40_000), st.floats(0.005, 1), st.randoms(use_true_random=False))
def test_bursts_within_the_parity_are_mended(size: int, share: float, rng: random.Random) -> None:
    good = rng.randbytes(size)
    shape = parity.shape_for(5, size, share)
    assert shape.data + shape.parity <= 255 and shape.groups * shape.data >= shape.blocks
    burst = min(size, max(1, (shape.parity * shape.groups - 1) * shape.block))
    at = rng.randrange(size - burst + 1)
    bad = good[:at] + rng.randbytes(burst) + good[at + burst :]
    bodies = parity.encode(good, shape, SEED)
    assert len(bodies) == shape.parity
    assert mended(good, bad, shape, rng.sample(bodies, len(bodies))) == good


def test_any_blocks_of_a_group_are_mended_by_any_parts() -> None:
    rng = random.Random(1)
    shape = Shape(0, 64 * 20, 64, 20, 4)
    good = rng.randbytes(shape.size)
    bodies = parity.encode(good, shape, SEED)
    for _ in range(200):
        count = rng.randrange(1, 5)
        bad = bytearray(good)
        for block in rng.sample(range(20), count):
            bad[block * 64 + rng.randrange(64)] ^= rng.randrange(1, 256)
        assert mended(good, bytes(bad), shape, rng.sample(bodies, count)) == good


def test_more_damage_than_parity_is_left_alone() -> None:
    shape = Shape(0, 64 * 10, 64, 10, 2)
    good = bytes(range(256)) * 2 + bytes(128)
    bad = b"x" * 64 * 3 + good[192:]
    assert mended(good, bad, shape, parity.encode(good, shape, SEED)) == bad


def test_the_sum_is_the_specified_one() -> None:
    """By multiplication bit by bit, as the format's page says it, and its hashes."""

    def product(a: int, b: int) -> int:
        out = 0
        while b:
            out ^= a * (b & 1)
            a, b = a << 1 ^ (0x11D if a & 0x80 else 0), b >> 1
        return out

    shape = Shape(9, 64 * 7 - 5, 64, 3, 2)  # three groups, the last block is short
    good = random.Random(3).randbytes(shape.size)
    blocks = [good[at : at + 64].ljust(64, b"\0") for at in range(0, shape.size, 64)]
    assert (shape.blocks, shape.groups) == (7, 3)
    for part in map(parity.unpack, parity.encode(good, shape, SEED)):
        for group in range(shape.groups):
            total = [0] * 64
            for row in range(shape.data):
                number = row * shape.groups + group
                block = blocks[number] if number < len(blocks) else bytes(64)
                factor = next(x for x in range(256) if product(x, (shape.data + part.number) ^ row) == 1)
                total = [old ^ product(factor, byte) for old, byte in zip(total, block, strict=True)]
            assert part.blocks[group * 64 : group * 64 + 64] == bytes(total)
        assert part.hashes == b"".join(
            xxhash.xxh3_64_intdigest(block, SEED).to_bytes(8, "little")[:4] for block in blocks
        )  # fmt: skip


def test_bodies_that_lie() -> None:
    good = parity.encode(bytes(1000), Shape(0, 1000, 64, 16, 2), SEED)[0]
    for at, value in ((0, 2), (4, 63), (5, 0), (5, 255), (6, 0), (7, 9)):
        with pytest.raises(zllm.DamagedError):
            parity.unpack(good[:at] + bytes([value]) + good[at + 1 :])
    for size in (0, 5, len(good) - 1):
        with pytest.raises(zllm.DamagedError):
            parity.unpack(good[:size])
    with pytest.raises(zllm.DamagedError):
        parity.unpack(good + b"x")


@settings(max_examples=80, deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.data())
def test_one_wrong_byte_is_found(data: bytes, draw: st.DataObject) -> None:
    at, change = draw.draw(st.integers(0, len(data) - 1)), draw.draw(st.integers(1, 255))
    bad = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    syndrome = envelope.crc_of(SEED, b"front", data) ^ envelope.crc_of(SEED, b"front", bad)
    assert (at, change) in crcsearch.places(syndrome, len(data))
    whole = bad + envelope.check_of(SEED, b"front", data)
    assert data in [body[:-4] for body in repair.bodies(b"front", whole, SEED, repair.Budget())]


def test_a_wrong_bit_of_a_large_part_is_found() -> None:
    data = bytearray(20 << 20)
    check = envelope.check_of(SEED, data)
    for at in (0, 1, 12345678, len(data) - 1):
        data[at] ^= 16
        found = repair.body(b"", bytes(data) + check, SEED, repair.Budget())
        data[at] ^= 16
        assert found == bytes(data) + check
