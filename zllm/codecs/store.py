"""Codec 0: the bytes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from zllm.codecs.base import Buffer, Codec
from zllm.errors import DamagedError
from zllm.format.category import Category


class StoreCodec(Codec):
    """The payload is the data."""

    name: ClassVar[str] = "store"
    id: ClassVar[int] = 0
    categories: ClassVar[frozenset[Category]] = frozenset(Category)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """``data`` as it is."""
        return bytes(data)

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """``payload`` as it is.

        Raises:
            DamagedError: the payload is not ``size`` bytes long.
        """
        if len(payload) != size:
            raise DamagedError(f"stored frame has {len(payload)} bytes instead of {size}")
        return bytes(payload)

    def salvage(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.salvage`."""
        return bytes(payload[:size])
