"""Codec 1: one LZ4 block, without the LZ4 frame format around it (the container has the size and a checksum)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import lz4.block

from zllm.codecs.base import Buffer, Codec, Cost
from zllm.errors import DamagedError
from zllm.format.category import Category

# One length byte of a match adds at most 255 bytes of output, and nothing else in a block adds as much.
_MAX_EXPANSION = 255
_SLACK = 64


class Lz4Codec(Codec):
    """Fastest both ways. The block format is LZ4's own (``lz4_Block_format.md`` of the LZ4 project)."""

    name: ClassVar[str] = "lz4"
    id: ClassVar[int] = 1
    categories: ClassVar[frozenset[Category]] = frozenset(Category)
    cost: ClassVar[Cost] = Cost(encode=3, decode=1)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """One block; ``b""`` for no data."""
        if not len(data):
            return b""
        return bytes(lz4.block.compress(data, mode="default", store_size=False))

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """Exactly ``size`` bytes, having allocated no more than 255 times the payload.

        Raises:
            DamagedError: the payload is not an LZ4 block of ``size`` bytes.
        """
        if size > _MAX_EXPANSION * len(payload) + _SLACK or (not size and len(payload)):
            raise DamagedError(f"lz4 frame of {len(payload)} bytes cannot hold {size} bytes")
        if not size:
            return b""
        try:
            data = bytes(lz4.block.decompress(payload, uncompressed_size=size))
        except lz4.block.LZ4BlockError as error:
            raise DamagedError(f"lz4 frame does not decode: {error}") from error
        if len(data) != size:
            raise DamagedError(f"lz4 frame gives {len(data)} bytes instead of {size}")
        return data
