"""Codec 5: audio samples by adaptive prediction (``docs/media.md``). Headers, and whatever else is around, come along.

The payload is C's (``csrc/media/pcm.c``); its first byte is the version of its arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from zllm._native import Cancel, Counter
from zllm._native.media import pcm_decode, pcm_encode, pcm_memory
from zllm.codecs.base import Buffer, Codec, Cost, Run
from zllm.codecs.media import audio, batches
from zllm.format import payloads
from zllm.format.category import Category

_STRONG = Cost(encode=700, decode=700)


class PcmCodec(Codec):
    """Samples of WAV, AIFF and AU files, and of files without a header that measurement proves. ``fast`` shapes
    encoding only. Data without samples gets a payload that is larger than itself."""

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

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool:
        """See :meth:`Codec.recognises`."""
        found = audio.runs(memoryview(data), boundaries)
        return 2 * sum(run.frames * run.frame for run in found) >= len(data) > 0

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`."""
        return pcm_memory(fast=bool(self.fast)) + 2 * size

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return pcm_memory(fast=False) + 2 * size  # which form it is, the payload says

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self.encode_batch([(data, boundaries)], Run())[0]

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self.decode_batch([(payload, size, boundaries)], Run())[0]

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """Encode many frames, each by one thread."""

        def one(at: int, cancel: Cancel, counter: Counter) -> bytes:
            data, boundaries = items[at]
            if not len(data):
                return b""
            found = audio.runs(memoryview(data), boundaries)
            if not found:
                return payloads.pack_plain_media(data)
            code = pcm_encode(data, found, fast=bool(self.fast), cancel=cancel, counter=counter)
            return payloads.pack_media(code, len(data))

        return batches.code(self.name, [len(data) for data, _ in items], one, self.encoder_memory, run)

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """Decode many frames, each by one thread.

        Raises:
            DamagedError: a payload does not fit its size.
            UnsupportedVersionError: another version of the arithmetic made it.
        """

        def one(at: int, cancel: Cancel, counter: Counter) -> bytes:
            size, code = items[at][1], codes[at]
            return code if isinstance(code, bytes) else pcm_decode(code, size, cancel=cancel, counter=counter)

        codes = [payloads.read_media(payload, size) for payload, size, _ in items]
        return batches.code(self.name, [size for _, size, _ in items], one, self.decoder_memory, run)
