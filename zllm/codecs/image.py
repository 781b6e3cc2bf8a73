"""Codec 6: pixels by adaptive prediction (``docs/media.md``). Headers, and whatever else is around, come along.

The payload is C's (``csrc/media/image.c``); its first byte is the version of its arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from zllm._native import Cancel, Counter
from zllm._native.media import image_decode, image_encode, image_memory
from zllm.codecs.base import Cost
from zllm.codecs.media import pictures
from zllm.codecs.media.coder import MediaCodec
from zllm.format.category import Category


class ImageCodec(MediaCodec):
    """Pixels of uncompressed BMP, PPM, PGM, PAM, TGA and TIFF files, and rows that measurement proves."""

    name: ClassVar[str] = "image"
    id: ClassVar[int] = 6
    categories: ClassVar[frozenset[Category]] = frozenset({Category.IMAGE, Category.BINARY, Category.COMPRESSED})
    cost: ClassVar[Cost] = Cost(encode=1300, decode=1300)

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`."""
        return image_memory(size) + 2 * size

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return image_memory(size) + 2 * size

    def _covered(self, data: memoryview, boundaries: Sequence[int]) -> int:
        return sum(run.rows * run.row for run in pictures.runs(data, boundaries))

    def _encode(self, data: memoryview, boundaries: Sequence[int], cancel: Cancel, counter: Counter) -> bytes | None:
        found = pictures.runs(data, boundaries)
        return image_encode(data, found, cancel=cancel, counter=counter) if found else None

    def _decode(self, code: memoryview, size: int, cancel: Cancel, counter: Counter) -> bytes:
        return image_decode(code, size, cancel=cancel, counter=counter)
