"""Chunks of arrays coded by the adaptive predictor: a codec of numcodecs, and so of zarr (``docs/integrations.md``).

A chunk is a coded buffer as the C library makes it (``docs/c-library.md``): it needs no model, and carries a checksum.
"""

from __future__ import annotations

from typing import Any

import xxhash

from zllm.codecs.cm import CmCodec
from zllm.errors import DamagedError, MissingDependencyError
from zllm.format.wire import Reader, varints

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_bytes, ensure_contiguous_ndarray, ndarray_copy
except ImportError as exc:
    raise MissingDependencyError("numcodecs", "pip install 'zllm[numcodecs]'", "coding chunks of arrays") from exc

MARK = b"\xb5\x54"
MOST = 64 << 20
"""Bytes of a chunk, at most."""
_CHECK = 4


class ZllmCodec(Codec):  # type: ignore[misc]  # numcodecs has no types that mypy accepts
    """Codes chunks at about a megabyte a second, both ways; what does not get smaller is stored.

    Has no settings. Any number of threads may use one object.
    """

    codec_id = "zllm"

    def encode(self, buf: Any) -> bytes:
        """The chunk, coded.

        Raises:
            ValueError: it has more than 64 MiB.
        """
        data = ensure_bytes(ensure_contiguous_ndarray(buf))
        if len(data) > MOST:
            raise ValueError(f"a chunk of {len(data)} bytes is larger than 64 MiB: make chunks smaller")
        codec, payload = CmCodec.id, CmCodec().encode(data)
        if len(payload) >= len(data):
            codec, payload = 0, data
        check = xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF
        return MARK + bytes([codec]) + varints([len(data)]) + payload + check.to_bytes(_CHECK, "little")

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The chunk's bytes; if ``out`` is given, they are stored in it.

        Raises:
            DamagedError: this is no such chunk, or a damaged one.
        """
        coded = ensure_bytes(buf)
        if coded[:2] != MARK or len(coded) < 3 + _CHECK or coded[2] not in (0, CmCodec.id):
            raise DamagedError("not a chunk coded by zllm")
        reader = Reader(memoryview(coded)[3:-_CHECK], "a chunk")
        size = reader.varint()
        payload = reader.data[reader.pos :]
        if size > MOST or (coded[2] == 0 and len(payload) != size):
            raise DamagedError("a chunk is damaged: its sizes do not fit it")
        data = bytes(payload) if coded[2] == 0 else CmCodec().decode(payload, size)
        if xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF != int.from_bytes(coded[-_CHECK:], "little"):
            raise DamagedError("a chunk is damaged: its checksum is wrong")
        return ndarray_copy(data, out)
