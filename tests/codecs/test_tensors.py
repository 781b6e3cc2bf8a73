"""The codec tensors: floating-point numbers in planes come back and pay; other bytes come back."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from zllm.codecs.tensors import TensorsCodec
from zllm.errors import DamagedError
from zllm.format.category import Category
from zllm.planner.levels import get_level
from zllm.planner.planner import Group, Planner

RNG = random.Random(6)
NUMBERS = [RNG.gauss(0, 0.02) for _ in range(20_000)]
FLOATS = struct.pack(f"<{len(NUMBERS)}f", *NUMBERS)
KINDS = {
    "float32": (FLOATS, 0.87),
    "bfloat16": (b"".join(FLOATS[at + 2 : at + 4] for at in range(0, len(FLOATS), 4)), 0.72),
    "float16": (struct.pack(f"<{len(NUMBERS)}e", *NUMBERS), 0.88),
    "float64": (struct.pack(f"<{len(NUMBERS)}d", *NUMBERS), 0.89),
}
HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (20000,), }     \n"

WORDS = b"".join(RNG.choice([b"words ", b"and ", b"others "]) for _ in range(900))
NPY = b"\x93NUMPY\1\0" + len(HEADER).to_bytes(2, "little") + HEADER


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front", [b"", NPY], ids=["raw", "npy"])
def test_numbers_pay(kind: str, front: bytes) -> None:
    data, most = front + KINDS[kind][0] + b"end", KINDS[kind][1]
    payload = TensorsCodec().encode(data)
    assert TensorsCodec().decode(payload, len(data)) == data
    assert len(payload) < most * len(data) < 0.96 * len(zstandard.ZstdCompressor(19).compress(data))
    assert TensorsCodec().recognises(data)


@pytest.mark.parametrize("level", [3, 4])
def test_it_is_chosen(level: int) -> None:
    data = KINDS["bfloat16"][0]
    ((frame,),) = Planner(get_level(level)).encode([Group(Category.TENSOR, memoryview(data))])
    assert frame.codec_id == TensorsCodec.id


@pytest.mark.parametrize(
    "data",
    [RNG.randbytes(5000), WORDS, b"", b"few"],
)
def test_what_has_no_numbers_is_not_taken_for_them(data: bytes) -> None:
    assert not TensorsCodec().recognises(data)
    assert TensorsCodec().decode(TensorsCodec().encode(data), len(data)) == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_come_back(data: bytes, times: int) -> None:
    data *= times
    assert TensorsCodec().decode(TensorsCodec().encode(data), len(data)) == data


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 5000), bit=st.integers(0, 7), cut=st.integers(0, 5000), size=st.integers(0, 5000))
def test_damage_is_refused_or_in_bounds(at: int, bit: int, cut: int, size: int) -> None:
    data = FLOATS[:4001]
    damaged = bytearray(TensorsCodec().encode(data))[: cut or None]
    damaged[at % len(damaged)] ^= 1 << bit
    for wanted in (len(data), size):
        with contextlib.suppress(DamagedError):
            assert len(TensorsCodec().decode(bytes(damaged), wanted)) == wanted


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (b"", 4),
        (b"\x14", 4),
        (b"\3\0\0\0\0abc", 3),
        (b"\x14\5\0\0\0\0abcd", 4),
        (b"\x14\0\0\0\0\0abcde", 4),
        (b"\x14", 1 << 40),
    ],
)
def test_what_does_not_fit_is_refused(payload: bytes, size: int) -> None:
    with pytest.raises(DamagedError):
        TensorsCodec().decode(payload, size)
