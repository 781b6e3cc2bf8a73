"""Each codec on the same text, both ways, with one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zllm.codecs.base import Codec
from zllm.codecs.cm import CmCodec
from zllm.codecs.llm import LlmCodec
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.zstd import ZstdCodec
from zllm.models import store

CODECS: dict[str, Callable[[], Codec]] = {
    "lz4": Lz4Codec,
    "zstd -3": lambda: ZstdCodec(3),
    "zstd -19": lambda: ZstdCodec(19),
    "cm": CmCodec,
    "llm, fast": lambda: LlmCodec(store.resolve("fast")),
}
SLOW_BYTES = 1 << 14


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_codec(name: str, way: str, benchmark: Any, text: bytes) -> None:
    """The model gets less of the text; ``bytes`` says how much."""
    codec = CODECS[name]()
    data = text[:SLOW_BYTES] if codec.needs_model else text
    coded = codec.encode(data)
    benchmark.group = f"codecs, {way}"
    benchmark.extra_info |= {"bytes": len(data), "coded_bytes": len(coded)}
    if way == "encode":
        assert benchmark(codec.encode, data) == coded
    else:
        assert benchmark(codec.decode, coded, len(data)) == data
