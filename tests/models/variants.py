"""Small random models of every kind of network that arithmetic version 4 knows (docs/arithmetic.md, section 4)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import tiny

from zllm.models import zlm

SMALL: dict[str, Any] = {"dim": 32, "heads": 2, "kv_heads": 1, "ffn": 64, "layers": 2}
BIASES = ("qkv", "o", "gate_up", "down")
BIAS_SIZES = {"qkv": 6000, "o": 3000, "gate_up": 900, "down": 3000, "head": 90_000}
"""About that of what they are added to."""
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"qk": 1, "embed_rows": 301, "layer": {"k_frac": 20}},
    "qwen2": {"qk": 1, "biases": ("qkv",), "layer": {"wide": 8}},
    "qwen3": {"qk": 2, "layer": {"k_frac": 16}, "embed_rows": 300},
    "gpt2": {"qk": 1, "mlp": 1, "positions": 64, "biases": (*BIASES, "head"), "rotary": 0, "wide_head": 1},
    "neox": {
        "qk": 1, "mlp": 1, "parallel": 1, "embed_rows": 301, "biases": BIASES, "rotary": 4, "embed_exponent": 14,
        "layer": {"wide": 5},
    },
}  # fmt: skip


def tensors_of(
    seed: int = 1,
    extreme: bool = False,
    *,
    biases: tuple[str, ...] = (),
    rotary: int | None = None,
    layer: dict[str, int] | None = None,
    embed_exponent: int | None = None,
    **shape: Any,
) -> tuple[dict[str, Any], dict[str, zlm.Tensor]]:
    """(description, tensors). ``extreme``: every number is as large as it may be, and has a random sign. ``rotary``:
    pairs of elements that are rotated, if not all. ``layer``: what all layers say."""
    description, out = tiny.tensors_of(seed, extreme, **{**SMALL, **shape})
    rng = random.Random(seed + 1000)
    c, exponents = description["config"], description["exponents"]

    def draw(size: int, count: int) -> list[int]:
        return [rng.choice((-size, size)) if extreme else rng.randint(-size, size) for _ in range(count)]

    def put(name: str, code: str, values: list[int], *dims: int) -> None:
        dtype = {"b": "I8", "h": "I16", "i": "I32", "I": "U32"}[code]
        out[name] = dtype, dims or (len(values),), memoryview(struct.pack(f"<{len(values)}{code}", *values))

    _embedding(c, draw, put, rng)
    if embed_exponent is not None:
        exponents["embed"] = embed_exponent
    if rotary is not None:
        step = struct.unpack(f"<{c['head_dim'] // 2}I", out["rope.step"][2])
        put("rope.step", "I", [s if i < rotary else 0 for i, s in enumerate(step)])
    for i in range(c["layers"]):
        description["layers"][i] |= layer or {}
        if c.get("mlp"):
            for part, name in (("I8", f"layers.{i}.gate_up.q"), ("I16", f"layers.{i}.gate_up.scale")):
                _, (rows, *rest), data = out[name]
                out[name] = part, (rows // 2, *rest), data[: len(data) // 2]
        if c.get("qk") == 2:
            for name in (f"layers.{i}.q_gain", f"layers.{i}.k_gain"):
                put(name, "h", draw(32767, c["head_dim"]))
                exponents[name] = 14
    for name in biases:
        for matrix in ["head"] if name == "head" else [f"layers.{i}.{name}" for i in range(c["layers"])]:
            put(f"{matrix}.bias", "i", draw(2**30 - 1 if extreme else BIAS_SIZES[name], out[f"{matrix}.q"][1][0]))
    return description, out


def _embedding(c: dict[str, Any], draw: Callable[[int, int], list[int]], put: Callable[..., None], rng: Any) -> None:
    rows, dim = c.get("embed_rows", 0), c["dim"]
    if rows:
        put("embed.q", "b", [0] * dim + draw(127, (rows - 1) * dim), rows, dim)  # token 0 is nothing at all
        put("embed.scale", "h", [rng.randint(300, 3000) for _ in range(rows)])
    if c.get("positions"):
        size = 2**28 if rng.random() < 0.1 else 4000
        put("positions", "i", draw(size, c["positions"] * dim), c["positions"], dim)


def write(path: Path, **kwargs: Any) -> Path:
    """A model's file."""
    zlm.write(path, *tensors_of(**kwargs))
    return path


def anything(seed: int) -> dict[str, Any]:
    """Arguments of :func:`tensors_of` for a model of any combination."""
    rng = random.Random(seed)
    heads, kv_heads = rng.choice([(1, 1), (2, 1), (2, 2), (4, 2), (3, 1)])
    return {
        "seed": seed,
        "extreme": rng.random() < 0.3,
        "dim": rng.choice([32, 64, 96]),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": rng.choice([32, 64]),
        "ffn": rng.choice([32, 64, 96]),
        "layers": rng.choice([1, 2]),
        "window": 32,
        "qk": rng.randrange(3),
        "mlp": rng.randrange(2),
        "parallel": rng.randrange(2),
        "positions": rng.choice([0, 32, 64]),
        "embed_rows": rng.choice([0, 300, 301]),
        "wide_head": rng.randrange(2),
        "biases": tuple(name for name in (*BIASES, "head") if rng.random() < 0.5),
        "rotary": rng.choice([None, 0, 5]),
        "embed_exponent": rng.choice([None, 13, 17, 24, 40]),
        "layer": {
            "wide": rng.randrange(16),
            "k_frac": rng.choice([0, 5, 16, 18, 20, 24, 30]),
            "v_shift": rng.choice([0, 8, 12, 20, 40]),
            "up_frac": rng.choice([0, 9, 12]),
        },
    }
