"""Models with random weights, for speed only: their scales are those of a network at the start of its training, so that
every number on the way has the size that it has in a trained one.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zllm._native import ARITHMETIC_VERSION
from zllm.errors import MissingDependencyError
from zllm.models import store, zlm
from zllm.models.config import ModelConfig
from zllm.models.tokenizer import BytesTokenizer, train_bpe

if TYPE_CHECKING:
    import numpy as np

BUILT_IN = "6M"
CONFIGS = {
    "2M": ModelConfig(dim=192, layers=3, heads=3, kv_heads=1, head_dim=64, ffn=512),
    BUILT_IN: ModelConfig(),  # replaced by the default model's own
    "16M": ModelConfig(dim=384, layers=9, heads=6, kv_heads=2, head_dim=64, ffn=1024),
    # The shape of SmolLM2-135M.
    "135M": ModelConfig(vocab=49152, dim=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536),
}
_SPREAD = 40  # standard deviation of the int8 weights
_LARGEST_VALUE, _LARGEST_UP, _HEADROOM = 5.0, 6.0, 4.0  # of rows with a mean square of 1


@dataclass(frozen=True)
class Shape:
    """A model file and what its work is counted by."""

    name: str
    path: Path
    config: ModelConfig

    @property
    def weights(self) -> int:
        """Numbers in its matrices; also the multiply-adds that they take for a token."""
        c = self.config
        attention = (c.heads + 2 * c.kv_heads) * c.head_dim * c.dim + c.dim * c.heads * c.head_dim
        return c.layers * (attention + 3 * c.ffn * c.dim) + c.vocab * c.dim

    def multiply_adds(self, streams: list[int]) -> int:
        """Useful multiply-adds for streams of so many tokens: matrices, and scores and values over the real context."""
        c = self.config
        context = 0
        for tokens in streams:
            full = min(tokens, c.window)
            context += full * (full + 1) // 2 + (tokens - full) * c.window
        return sum(streams) * self.weights + context * 2 * c.heads * c.head_dim * c.layers


def make(name: str, folder: Path) -> Shape:
    """The model of that name, in a file in ``folder``; the built-in one for 6M."""
    default = store.resolve(store.DEFAULT_NAME)
    if name == BUILT_IN:
        return Shape(name, default.path, default.config)
    config = CONFIGS[name]
    path = folder / f"{name}.zlm"
    if config.vocab == default.config.vocab:
        file = zlm.read(default.path)
        tokens = {key: file.tensors[key] for key in ("tokens.bytes", "tokens.offsets", "tokenizer.json")}
    else:
        tokens = _tokens(config.vocab)
    _write(path, name, config, tokens)
    return Shape(name, path, config)


def _tokens(vocab: int) -> dict[str, zlm.Tensor]:
    """A vocabulary made of Python's sources, which are everywhere and large enough: 3.6 bytes of prose a token."""
    # os.py lies where the library does, also in a virtual environment.
    sources = [path.read_bytes() for path in sorted(Path(os.__file__).parent.glob("*.py"))]
    tokenizer = BytesTokenizer(train_bpe(sources, vocab))
    np = _numpy()
    return {
        "tokens.bytes": _tensor("U8", np.frombuffer(b"".join(tokenizer.tokens), np.uint8)),
        "tokens.offsets": _tensor("U32", np.cumsum([0, *map(len, tokenizer.tokens)])),
        "tokenizer.json": _tensor("U8", np.frombuffer(tokenizer.json.encode(), np.uint8)),
    }


def _write(path: Path, name: str, config: ModelConfig, tensors: dict[str, zlm.Tensor]) -> None:
    np = _numpy()
    rng = np.random.default_rng(135)
    exponents: dict[str, int] = {}

    def put(key: str, rows: int, cols: int, gain: float = 1.0) -> None:
        q = np.clip(np.rint(rng.standard_normal((rows, cols), np.float32) * _SPREAD), -127, 127)
        scale = gain / math.sqrt(cols) / _SPREAD
        exponents[key] = 14 - math.floor(math.log2(scale))
        tensors[key + ".q"] = _tensor("I8", q)
        tensors[key + ".scale"] = _tensor("I16", np.full(rows, min(32767, round(scale * 2.0 ** exponents[key]))))

    put("head", config.vocab, config.dim)
    tensors["embed.scale"] = _tensor("I16", np.full(config.vocab, round(65536 / _SPREAD)))
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    tensors["rope.step"] = _tensor("U32", np.round(frequency / (2 * np.pi) * 2.0**32))
    deep = 1 / math.sqrt(2 * config.layers)  # each layer adds twice to the residual, whose size it is to keep
    for i in range(config.layers):
        put(f"layers.{i}.qkv", (config.heads + 2 * config.kv_heads) * config.head_dim, config.dim)
        put(f"layers.{i}.o", config.dim, config.heads * config.head_dim, deep)
        put(f"layers.{i}.gate_up", 2 * config.ffn, config.dim)
        put(f"layers.{i}.down", config.dim, config.ffn, deep)
    description = {
        "format": zlm.FORMAT,
        "name": f"random-{name}",
        "origin": "random weights, for measuring speed",
        "arithmetic": ARITHMETIC_VERSION,
        "config": config.as_dict(),
        "exponents": exponents,
        "layers": [_layer(config.head_dim)] * config.layers,
    }
    zlm.write(path, json.loads(json.dumps(description)), tensors)


def _layer(head_dim: int) -> dict[str, int]:
    """As :mod:`zllm.models.quantise` has them for a temperature of 1."""
    factor = math.log2(math.e) / math.sqrt(head_dim)
    exponent = 15 - math.floor(math.log2(factor))
    largest = _HEADROOM * _LARGEST_VALUE * 2**12 * 2**23 / 127
    return {
        "temperature": round(factor * 2.0**exponent),
        "temperature_exponent": exponent,
        "v_shift": math.ceil(math.log2(largest) - 15),
        "up_frac": math.floor(15 - math.log2(_HEADROOM * _LARGEST_UP)),
    }


def _tensor(dtype: str, values: np.ndarray) -> zlm.Tensor:
    kinds = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "U32": "<u4"}
    data = values.astype(kinds[dtype])
    return dtype, tuple(data.shape), data.reshape(-1).view("u1").data


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingDependencyError("numpy", "pip install numpy", "models with random weights") from error
    return numpy
