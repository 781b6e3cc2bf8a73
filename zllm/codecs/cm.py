"""Codec 4: text by the adaptive predictor alone, byte by byte (``docs/arithmetic.md``, section 9). No model needed.

Payload::

    u8 arithmetic version, for no section header names one where there is no model
    the code string
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import ClassVar

from zllm._native import ARITHMETIC_VERSION, Cancel, Counter, Stages, cm_decode, cm_encode
from zllm.codecs import workspace
from zllm.codecs.base import Buffer, Codec, Cost, Run
from zllm.codecs.threads import NoThreadsError, in_threads
from zllm.errors import DamagedError
from zllm.format import payloads
from zllm.format.category import Category

_VERSION = bytes([ARITHMETIC_VERSION])
# Of a predictor: all that does not grow with the frame, and the most that its table of contexts grows to.
_STATE = 6 << 20
_MOST_TABLE = 32 << 20


class CmCodec(Codec):
    """Context mixing: about a megabyte a second and core, both ways."""

    name: ClassVar[str] = "cm"
    id: ClassVar[int] = 4
    categories: ClassVar[frozenset[Category]] = frozenset(Category)
    cost: ClassVar[Cost] = Cost(encode=950, decode=1000)

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`."""
        return self.decoder_memory(size)  # the code string once more, instead of the text

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return _STATE + min(64 * size, _MOST_TABLE) + 2 * size  # contexts, the text, and the text once more

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
            return payloads.pack_cm(_VERSION[0], cm_encode(data, boundaries, cancel=cancel, counter=counter), len(data))

        return _code([len(data) for data, _ in items], one, self.encoder_memory, run)

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """Decode many frames, each by one thread.

        Raises:
            DamagedError: a frame claims to be larger than one may be, or is empty.
            UnsupportedVersionError: a frame was made with another version of the arithmetic.
        """

        def one(at: int, cancel: Cancel, counter: Counter) -> bytes:
            _, size, boundaries = items[at]
            return cm_decode(codes[at], size, boundaries, cancel=cancel, counter=counter) if size else b""

        codes = [payloads.read_cm(payload, size, ARITHMETIC_VERSION) for payload, size, _ in items]
        return _code([size for _, size, _ in items], one, self.decoder_memory, run)

    def salvage(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.salvage`: right up to the damage, and something else from there on."""
        try:
            code = payloads.read_cm(bytes([ARITHMETIC_VERSION]) + payload[1:], size, ARITHMETIC_VERSION)
        except DamagedError:
            return b""
        return cm_decode(code, size, boundaries)


def _code(
    sizes: Sequence[int], one: Callable[[int, Cancel, Counter], bytes], memory: Callable[[int], int], run: Run
) -> list[bytes]:
    """``one`` for each index, the largest first; ``memory``: what a frame of some size takes."""
    out = [b""] * len(sizes)
    waiting: SimpleQueue[int] = SimpleQueue()
    for at in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        waiting.put(at)

    def work(_: int, cancel: Cancel, counter: Counter, __: Stages | None) -> None:
        while True:
            try:
                at = waiting.get_nowait()
            except Empty:
                return
            with workspace.shared.hold(memory(sizes[at])), run.stage(CmCodec.name, sizes[at]) as stage:
                out[at] = one(at, cancel, counter)
                stage.bytes_out = len(out[at])

    try:
        in_threads(work, min(max(1, run.threads), len(sizes)), run)
    except NoThreadsError:  # nothing was done
        in_threads(work, 1, run)
    return out
