"""Codec 5: audio samples by adaptive prediction (``docs/media.md``). Headers, and whatever else is around, come along.

The payload is C's (``csrc/media/pcm.c``); its first byte is the version of its arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from zllm._native import Cancel, Counter
from zllm._native.media import pcm_decode, pcm_encode, pcm_memory
from zllm.codecs.base import Cost
from zllm.codecs.media import audio
from zllm.codecs.media.coder import MediaCodec
from zllm.format.category import Category

_STRONG = Cost(encode=700, decode=700)


class PcmCodec(MediaCodec):
    """Samples of WAV, AIFF and AU files, and of files without a header that measurement proves. ``fast`` shapes
    encoding only."""

    name: ClassVar[str] = "pcm"
    id: ClassVar[int] = 5
    categories: ClassVar[frozenset[Category]] = frozenset({Category.AUDIO, Category.BINARY, Category.COMPRESSED})
    cost: ClassVar[Cost] = Cost(encode=55, decode=60)

    def __init__(self, fast: int = 0) -> None:
        self.fast = fast

    @classmethod
    def within(cls, budget: float) -> PcmCodec | None:
        """See :meth:`Codec.within`: the strong form costs ten times the fast one, whose cost the class has."""
        return None if budget < cls.cost.encode else cls(fast=int(budget < _STRONG.encode))

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"fast": self.fast}

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`."""
        return pcm_memory(fast=bool(self.fast)) + 2 * size

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return pcm_memory(fast=False) + 2 * size  # which form it is, the payload says

    def _covered(self, data: memoryview, boundaries: Sequence[int]) -> int:
        return sum(run.frames * run.frame for run in audio.runs(data, boundaries))

    def _encode(self, data: memoryview, boundaries: Sequence[int], cancel: Cancel, counter: Counter) -> bytes | None:
        found = audio.runs(data, boundaries)
        return pcm_encode(data, found, fast=bool(self.fast), cancel=cancel, counter=counter) if found else None

    def _decode(self, code: memoryview, size: int, cancel: Cancel, counter: Counter) -> bytes:
        return pcm_decode(code, size, cancel=cancel, counter=counter)
