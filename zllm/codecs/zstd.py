"""Codec 2: one Zstandard frame (RFC 8878) without its magic number, content size, dictionary id and checksum.

The container knows the size and checks the payload, so those 4 + 1..8 + 4 bytes would be paid for nothing. The
frame header descriptor is therefore always 0; anything else is refused before the library sees it, because a content
size claimed in there would be allocated unseen.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import ClassVar

import zstandard

from zllm.codecs import workspace
from zllm.codecs.base import Buffer, Codec, Cost, Run, map_items
from zllm.errors import UsageError
from zllm.format import payloads
from zllm.format.category import Category
from zllm.stats import measure

DEFAULT_LEVEL = 19
MAX_LEVEL = 22
# Data is handed over in pieces so that progress moves and Ctrl-C works: zstd -19 takes most of a second for one.
_PIECE = 1 << 20


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

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """One frame; ``b""`` for no data."""
        return self._encode(data, None)

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """Encode many frames, with ``run.threads`` threads, reporting progress inside long ones."""
        return map_items(lambda item, own: self._encode(item[0], own), items, run)

    def _encode(self, data: Buffer, run: Run | None) -> bytes:
        size = len(data)
        if not size:
            return b""
        out = io.BytesIO()  # it gives its buffer away without a copy; joining pieces would need twice the memory
        self._compress(memoryview(data), out.write, run)
        return out.getvalue()

    def payload_sizes(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[int]:
        """See :meth:`Codec.payload_sizes`; keeps no payload, which may be as large as a section."""

        def one(item: tuple[Buffer, Sequence[int]], own: Run) -> int:
            total = 0

            def count(piece: bytes) -> None:
                nonlocal total
                total += len(piece)

            if len(item[0]):
                self._compress(memoryview(item[0]), count, own)
            return total

        return map_items(one, items, run)

    def parameters(self, size: int, window_log: int | None = None) -> zstandard.ZstdCompressionParameters:
        """zstd's parameters for a frame of ``size`` bytes; ``window_log``: other than the level's."""
        own = {} if window_log is None else {"window_log": window_log}
        return payloads.zstd_parameters(self.level, size, **own)

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`."""
        parameters = self.parameters(size)
        tables: int = parameters.estimated_compression_context_size()
        return tables + (1 << parameters.window_log) + 2 * payloads.ZSTD_BLOCK

    def _compress(self, view: memoryview, put: Callable[[bytes], object], run: Run | None) -> None:
        """Give ``put`` the payload, piece by piece."""
        size = len(view)
        stats = None if run is None else run.stats
        with workspace.shared.hold(self.encoder_memory(size)), measure(stats, self.name, size) as stage:
            compressor = zstandard.ZstdCompressor(compression_params=self.parameters(size)).compressobj(size=size)
            if run is not None:
                run.check()
            for start in range(0, size, _PIECE):
                piece = view[start : start + _PIECE]
                coded = compressor.compress(piece)
                stage.bytes_out += len(coded)
                put(coded)
                if run is not None:
                    run.done(len(piece))
            coded = compressor.flush()
            stage.bytes_out += len(coded)
            put(coded)

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """Exactly ``size`` bytes; never allocates more than ``size`` and a window that is no larger than needed.

        Raises:
            DamagedError: the payload is not a frame of ``size`` bytes.
        """
        return payloads.decompress(memoryview(payload), size, "a zstd frame")

    def salvage(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.salvage`: up to the block that the library refuses."""
        return payloads.decompress_prefix(memoryview(payload), size)
