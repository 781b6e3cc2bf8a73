"""Codecs say what they are for: one of another package is chosen where it is the smallest, not only decoded."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import ClassVar

import pytest

from zllm.codecs import registry
from zllm.codecs.base import Buffer, Codec, Cost
from zllm.codecs.cm import CmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.format.category import NOT_TEXT, Category
from zllm.planner.levels import get_level
from zllm.planner.planner import Group, Planner
from zllm.planner.reasons import Why


class Generated(Codec):
    """Data of one generator, in 8 bytes: no other codec finds what it is made of."""

    name: ClassVar[str] = "generated"
    id: ClassVar[int] = 77
    categories: ClassVar[frozenset[Category]] = NOT_TEXT
    cost: ClassVar[Cost] = Cost(encode=40, decode=40)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        seed = struct.unpack_from("<I", bytes(data[:4]).ljust(4, b"\0"))[0]
        return struct.pack("<Q", seed) if bytes(data) == made(seed, len(data)) else b"\xff" + bytes(data)

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        return bytes(payload[1:]) if payload[0] == 0xFF else made(struct.unpack("<Q", payload)[0], size)


def made(seed: int, size: int) -> bytes:
    """Numbers of 12 bits in 16, which other codecs shrink a little."""
    rng = random.Random(seed)
    words = [seed & 0xFFFF, seed >> 16, *(rng.getrandbits(12) for _ in range(size // 2))]
    return struct.pack(f"<{len(words)}H", *words)[:size]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_foreign", lambda: ([Generated], None))


def codec_of(level: int, data: bytes, category: Category = Category.BINARY) -> tuple[int, int]:
    ((frame,),) = Planner(get_level(level)).encode([Group(category, memoryview(data))])
    assert registry.get(frame.codec_id).decode(frame.payload, len(data)) == data
    return frame.codec_id, frame.choice.why


@pytest.mark.parametrize("level", [3, 4, 5, 6, 9])
def test_the_smallest_is_chosen(level: int) -> None:
    assert codec_of(level, made(7, 30_000)) == (Generated.id, Why.SMALLEST if level == 3 else Why.NEED_NOT_COMPARE)


@pytest.mark.parametrize("level", [1, 2])
def test_not_at_levels_whose_budget_it_is_beyond(level: int) -> None:
    assert codec_of(level, made(7, 30_000))[0] != Generated.id


def test_not_for_data_that_it_does_not_say_it_is_for() -> None:
    assert codec_of(5, made(7, 30_000), Category.TEXT)[0] != Generated.id


def test_not_where_another_is_smaller() -> None:
    data = b"abcd" * 5000 + bytes(range(256)) * 20
    assert codec_of(5, data)[0] in (CmCodec.id, ZstdCodec.id)


def test_samples_of_large_data_keep_it_from_what_it_cannot_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    before = Generated.encode
    monkeypatch.setattr(
        Generated, "encode", lambda self, data, boundaries=(): sizes.append(len(data)) or before(self, data)
    )
    large = made(7, 600_000)[1:]
    codec_of(3, large)
    assert sizes and max(sizes) < len(large) // 10


def test_a_codec_that_claims_the_id_of_another_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote could not be read again."""
    twin = type("Twin", (Generated,), {"name": "twin"})
    monkeypatch.setattr(registry, "_foreign", lambda: ([Generated, twin], None))
    ((frame,),) = Planner(get_level(3)).encode([Group(Category.BINARY, memoryview(made(7, 30_000)))])
    assert frame.codec_id != Generated.id
