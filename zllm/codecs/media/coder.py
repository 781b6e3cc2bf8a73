"""A codec of media: runs of samples or pixels, coded by C, each frame by one thread."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from zllm._native import Cancel, Counter
from zllm.codecs.base import Buffer, Codec, Run
from zllm.codecs.media import batches
from zllm.format import payloads

_MOSTLY = 0.75
"""Share of a frame that has to be samples or pixels: the rest is coded slowly, and not well."""
FREE_CHANGES, CHANGE_DATA = 8, 64 << 10
"""Changes of the format in a frame: as many as C takes, and one more for so many bytes of data."""


class MediaCodec(Codec):
    """What such codecs have in common. Data without runs gets a payload that is larger than itself."""

    @abstractmethod
    def _covered(self, data: memoryview, boundaries: Sequence[int]) -> int:
        """Bytes of the data that are in runs."""

    @abstractmethod
    def _encode(self, data: memoryview, boundaries: Sequence[int], cancel: Cancel, counter: Counter) -> bytes | None:
        """C's payload; None if there are no runs."""

    @abstractmethod
    def _decode(self, code: memoryview, size: int, cancel: Cancel, counter: Counter) -> bytes:
        """The data of C's payload."""

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool:
        """See :meth:`Codec.recognises`."""
        return self._covered(memoryview(data), boundaries) >= max(1, _MOSTLY * len(data))

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
            code = self._encode(memoryview(data), boundaries, cancel, counter)
            if code is None:
                counter.add(len(data))
                return payloads.pack_plain_media(data)
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
            if isinstance(code, bytes):
                counter.add(size)
                return code
            return self._decode(code, size, cancel, counter)

        codes = [payloads.read_media(payload, size) for payload, size, _ in items]
        return batches.code(self.name, [size for _, size, _ in items], one, self.decoder_memory, run)


def parts(data: memoryview, boundaries: Sequence[int]) -> list[tuple[int, memoryview]]:
    """The members of a frame, each with its offset."""
    return [(start, data[start:stop]) for start, stop in pairwise([0, *boundaries, len(data)])]


class Changes:
    """Counts changes of the format in a frame, of which there may be few."""

    def __init__(self, size: int) -> None:
        self._left = FREE_CHANGES + size // CHANGE_DATA
        self._last: tuple[object, ...] | None = None

    def allow(self, *form: object) -> bool:
        """Whether a run of this format may follow; then it is the last one."""
        changed = self._last is not None and form != self._last
        if changed and not self._left:
            return False
        self._left -= changed
        self._last = form
        return True
