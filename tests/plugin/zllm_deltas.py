"""A codec for numbers of 4 bytes that grow by steps that change slowly: odometers, positions, angles."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

from zllm.codecs.base import Buffer, Codec, Cost
from zllm.errors import DamagedError
from zllm.format.category import NOT_TEXT, Category


class Deltas(Codec):
    """Differences of differences, their bytes in four planes, deflated. Bytes behind the last whole number follow."""

    name: ClassVar[str] = "deltas"
    id: ClassVar[int] = 200
    categories: ClassVar[frozenset[Category]] = NOT_TEXT
    cost: ClassVar[Cost] = Cost(encode=350, decode=300)

    def __init__(self, effort: int = 9) -> None:
        self.effort = effort

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"effort": self.effort}

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        whole = len(data) & ~3
        numbers = array("I", bytes(data[:whole]))
        for _ in range(2):
            before = array("I", [0, *numbers])
            numbers = array("I", [(a - b) & 0xFFFFFFFF for a, b in zip(numbers, before, strict=False)])
        raw = numbers.tobytes()
        planes = b"".join(raw[plane::4] for plane in range(4))
        return zlib.compress(planes + bytes(data[whole:]), self.effort)

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(payload, size + 1)
        except zlib.error as error:
            raise DamagedError(f"deltas: {error}") from error
        if len(data) != size or not unpacker.eof or unpacker.unused_data:
            raise DamagedError(f"deltas: not a frame of {size} bytes")
        raw = bytearray(size & ~3)
        for plane in range(4):
            raw[plane::4] = data[plane * len(raw) // 4 : (plane + 1) * len(raw) // 4]
        numbers = array("I", bytes(raw))
        for _ in range(2):
            numbers = array("I", accumulate(numbers, lambda a, b: (a + b) & 0xFFFFFFFF))
        return numbers.tobytes() + data[len(raw) :]
