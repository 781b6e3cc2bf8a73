"""Small models for tests: random integers in every range that a model file may have, no training, no torch."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

from zllm._native import ARITHMETIC_VERSION
from zllm.models import zlm

SHAPE = {
    "vocab": 300, "dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 96, "window": 32,
    "rope_theta": 10000.0,
}  # fmt: skip
MERGES = ["th", "he", "in", "er", "an", "re", " t", " a", "the", " the", "ing", "ed", "  ", "    ", "on", "at"]


def tokenizer_json(vocab: int) -> tuple[str, list[bytes]]:
    """A byte-level BPE with a few merges, padded with pairs of bytes to ``vocab`` tokens."""
    texts = [chr(i) for i in range(256)]
    merges: list[tuple[str, str]] = []
    candidates = MERGES + [chr(a) + chr(b) for a in range(97, 123) for b in range(97, 123)]
    for text in candidates:
        left = next((text[:i] for i in range(len(text) - 1, 0, -1) if text[:i] in texts and text[i:] in texts), None)
        if left is not None and text not in texts and len(texts) < vocab:
            merges.append((left, text[len(left) :]))
            texts.append(text)
    model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(texts)}, "merges": [list(m) for m in merges]}
    extra = {"byte_fallback": False, "fuse_unk": False, "dropout": None, "unk_token": None}
    model |= extra | {"continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": False}
    text = json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                       "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model})  # fmt: skip
    return text, sorted(t.encode("latin-1") for t in texts)


def tensors_of(seed: int = 1, extreme: bool = False, **shape: Any) -> tuple[dict[str, Any], dict[str, zlm.Tensor]]:
    """(description, tensors). ``extreme``: every weight is 127 or -127."""
    rng = random.Random(seed)
    c = {**SHAPE, **shape}
    text, tokens = tokenizer_json(c["vocab"])
    exponents: dict[str, int] = {}
    out: dict[str, zlm.Tensor] = {}

    def put(name: str, dtype: str, code: str, values: list[int], *dims: int) -> None:
        out[name] = dtype, dims or (len(values),), memoryview(struct.pack(f"<{len(values)}{code}", *values))

    def weights(name: str, rows: int, cols: int) -> None:
        draw = (lambda: rng.choice((-127, 127))) if extreme else (lambda: round(max(-127, min(127, rng.gauss(0, 40)))))
        put(name + ".q", "I8", "b", [draw() for _ in range(rows * cols)], rows, cols)
        put(name + ".scale", "I16", "h", [rng.randint(8000, 32767) for _ in range(rows)])
        exponents[name] = 24 if extreme else 23

    put("tokens.bytes", "U8", "B", list(b"".join(tokens)))
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    put("tokens.offsets", "U32", "I", offsets)
    put("tokenizer.json", "U8", "B", list(text.encode()))
    put("embed.scale", "I16", "h", [rng.randint(300, 3000) for _ in range(c["vocab"])])
    put("rope.step", "U32", "I", [rng.randrange(2**32) >> (i % 8) for i in range(c["head_dim"] // 2)])
    weights("head", c["vocab"], c["dim"])
    for i in range(c["layers"]):
        weights(f"layers.{i}.qkv", (c["heads"] + 2 * c["kv_heads"]) * c["head_dim"], c["dim"])
        weights(f"layers.{i}.o", c["dim"], c["heads"] * c["head_dim"])
        weights(f"layers.{i}.gate_up", 2 * c["ffn"], c["dim"])
        weights(f"layers.{i}.down", c["dim"], c["ffn"])
    layer = {"temperature": 45000, "temperature_exponent": 17, "v_shift": 12, "up_frac": 9}
    description = {
        "format": zlm.FORMAT, "name": "tiny", "origin": "made by the tests", "arithmetic": ARITHMETIC_VERSION,
        "config": c, "exponents": exponents, "layers": [dict(layer) for _ in range(c["layers"])],
    }  # fmt: skip
    return description, out


def write(path: Path, **kwargs: Any) -> Path:
    """A tiny model's file."""
    zlm.write(path, *tensors_of(**kwargs))
    return path
