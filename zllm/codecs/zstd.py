"""Codec 2: one Zstandard frame (RFC 8878) without its magic number, content size, dictionary id and checksum.

The container knows the size and checks the payload, so those 4 + 1..8 + 4 bytes would be paid for nothing. The
frame header descriptor is therefore always 0; anything else is refused before the library sees it, because a content
size claimed in there would be allocated unseen.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import zstandard

from zllm.codecs.base import Buffer, Codec, Cost, Run, map_items
from zllm.errors import DamagedError, UsageError
from zllm.format.category import Category
from zllm.stats import measure

DEFAULT_LEVEL = 19
MAX_LEVEL = 22
# Data is handed over in pieces so that progress moves and Ctrl-C works: zstd -19 takes most of a second for one.
_PIECE = 1 << 20
# Level 19 takes 90 MB for a frame of 8 MiB or more, 37 for 2 MiB: so many threads wait for each other at times, and one
# archive stays below 300 MB in all. A frame that needs more than this alone is coded alone.
_WORKSPACE = 112 << 20
# A block header of 3 bytes and one repeated byte make up to 128 KiB.
_BLOCK_RAW = 128 << 10
_BLOCK_MIN = 4
# The smallest window that the format can say; larger ones are bounded by the frame's size (next power of two).
_MIN_WINDOW = 1 << 10
_MAX_WINDOW = 1 << 27


class _Workspace:
    """Memory that all encoders of the process share: those that do not fit wait."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, or nobody else is at work; take them for the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + size <= self._size)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


_workspace = _Workspace(_WORKSPACE)


class ZstdCodec(Codec):
    """Zstandard at ``level`` (1 to 22). The level shapes encoding only; any instance decodes every payload."""

    name: ClassVar[str] = "zstd"
    id: ClassVar[int] = 2
    categories: ClassVar[frozenset[Category]] = frozenset(Category)
    cost: ClassVar[Cost] = Cost(encode=300, decode=2)

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"level": self.level}

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        if not 1 <= level <= MAX_LEVEL:
            raise UsageError(f"zstd has levels 1 to {MAX_LEVEL}, not {level}")
        self.level = level

    def encode(self, data: Buffer, cuts: Sequence[int] = ()) -> bytes:
        """One frame; ``b""`` for no data."""
        return self._encode(data, None)

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """Encode many frames, with ``run.threads`` threads, reporting progress inside long ones."""
        return map_items(lambda item, own: self._encode(item[0], own), items, run)

    def _encode(self, data: Buffer, run: Run | None) -> bytes:
        size = len(data)
        if not size:
            return b""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            source_size=size,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        tables: int = parameters.estimated_compression_context_size()
        stats = None if run is None else run.stats
        workspace = tables + (1 << parameters.window_log) + 2 * _BLOCK_RAW
        with _workspace.hold(workspace), measure(stats, self.name, size) as stage:
            payload = self._compress(memoryview(data), parameters, run)
            stage.bytes_out = len(payload)
        return payload

    def _compress(self, view: memoryview, parameters: zstandard.ZstdCompressionParameters, run: Run | None) -> bytes:
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(view))
        out = io.BytesIO()  # it gives its buffer away without a copy; joining pieces would need twice the memory
        if run is not None:
            run.check()
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            out.write(compressor.compress(piece))
            if run is not None:
                run.done(len(piece))
        out.write(compressor.flush())
        return out.getvalue()

    def decode(self, payload: Buffer, size: int, cuts: Sequence[int] = ()) -> bytes:
        """Exactly ``size`` bytes; never allocates more than ``size`` and a window that is no larger than needed.

        Raises:
            DamagedError: the payload is not a frame of ``size`` bytes.
        """
        length = len(payload)
        if size > _BLOCK_RAW * (length // _BLOCK_MIN + 1) or (not size and length):
            raise DamagedError(f"zstd frame of {length} bytes cannot hold {size} bytes")
        if not size:
            return b""
        if not length or memoryview(payload)[0] != 0:
            raise DamagedError("zstd frame has a header that zllm does not write")
        window = min(max(1 << (size - 1).bit_length(), _MIN_WINDOW), _MAX_WINDOW)
        decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=window)
        try:
            data = decompressor.decompress(payload, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DamagedError(f"zstd frame does not decode: {error}") from error
        if len(data) != size:
            raise DamagedError(f"zstd frame gives {len(data)} bytes instead of {size}")
        return data
