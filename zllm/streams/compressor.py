"""Bytes to compressed bytes, piece by piece or at once."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from zllm.archive.unpicklable import Unpicklable
from zllm.errors import UsageError
from zllm.streams.options import Model, writing

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zllm.archive.writer import Writer


class _Outbox:
    """What has been written and not been given away; section threads write while the program takes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._lock = threading.Lock()

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        with self._lock:
            self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """All that has come."""
        with self._lock:
            taken, self._pieces = self._pieces, []
        return b"".join(taken)


class Compressor(Unpicklable):
    """Compresses a stream that comes piece by piece.

    Args:
        level: 1 to 9; None is the default, 6.
        model: name or file of a language model, or several; None is the built-in one.
        options: other fields of :class:`zllm.archive.options.WriteOptions`: ``llm``, ``threads``, ``frame_size``,
            ``embed_model``, ``parity``, ``verify`` and so on.

    The pieces that :meth:`compress` and :meth:`flush` return, one behind the other, are what :func:`compress` returns
    of all the data. Threads may share a compressor: each call is whole.

    Raises:
        TypeError, UsageError: an option that there is not. UsageError is also a ValueError.
        MissingModelError, ModelError: the model cannot be used.
    """

    def __init__(self, level: int | None = None, model: Model = None, **options: Any) -> None:
        self._options = writing(level, model, options)
        self._lock = threading.Lock()
        self._outbox = _Outbox()
        self._writer: Writer | None = None
        self._failed = False
        self._begin()

    def compress(self, data: Buffer) -> bytes:
        """Take ``data``; returns compressed bytes that are ready, often none: they come by sections of 32 MiB.

        Raises:
            UsageError: an earlier call failed.
            VerificationError: what was coded does not decode to what was taken.
        """
        with self._lock:
            with self._work() as writer:
                writer.write(memoryview(data).cast("B"))
            return self._outbox.take()

    def flush(self) -> bytes:
        """End the stream; returns the rest of its bytes. What is compressed later begins another stream: readers take
        streams one behind the other for one.

        Raises:
            UsageError, VerificationError: as :meth:`compress`.
        """
        with self._lock:
            with self._work() as writer:
                writer.close()
            self._writer = None
            return self._outbox.take()

    def _begin(self) -> Writer:
        from zllm.archive.writer import Writer

        self._writer = Writer(self._outbox, self._options)
        return self._writer

    @contextlib.contextmanager
    def _work(self) -> Any:
        if self._failed:
            raise UsageError("an error ended this compressor: make another one")
        try:
            yield self._writer or self._begin()
        except BaseException:
            self._failed = True
            if self._writer is not None:
                self._writer.abort()
            raise

    def __del__(self) -> None:
        # Sections that are being coded would go on until they are done.
        if getattr(self, "_writer", None) is not None and not self._failed:
            with contextlib.suppress(Exception):
                self._writer.abort()  # type: ignore[union-attr]


def compress(data: Buffer, level: int | None = None, model: Model = None, **options: Any) -> bytes:
    """``data``, compressed: an archive of one raw stream, or, if it is a tar archive, of its members.

    The bytes are those that ``zllm < in > out`` writes, on every machine and with any number of threads.

    Args:
        data: anything with the buffer protocol.
        level: 1 to 9; None is the default, 6.
        model: name or file of a language model, or several; None is the built-in one.
        options: as for :class:`Compressor`.

    Raises:
        TypeError, UsageError, MissingModelError, ModelError, VerificationError: as :class:`Compressor`.
    """
    compressor = Compressor(level, model, **options)
    return compressor.compress(data) + compressor.flush()
