"""Small random models of every kind of network that there is (docs/arithmetic.md, section 4)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import tiny

from zllm.models import zlm
from zllm.models.training.classes import Range, split

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
    # What the default model of arithmetic 7 has: windows of several lengths, tables of 4 and of 8 bits.
    "second": {
        "classes": 24, "pair_bits": 6, "nibbles": 2, "values": (0, 2), "layers": 3, "windows": (32, 64, 32),
        "window": 64, "biases": ("head",),
        "layer": {"residual_scale": 7700, "embed_scale": 900, "pair_scale": -2500},
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
    values: tuple[int, ...] = (),
    windows: tuple[int, ...] = (),
    **shape: Any,
) -> tuple[dict[str, Any], dict[str, zlm.Tensor]]:
    """(description, tensors). ``extreme``: every number is as large as it may be, and has a random sign. ``rotary``:
    pairs of elements that are rotated, if not all. ``layer``: what all layers say. ``values``: layers that have a
    table. ``windows``: of each layer."""
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
    for said, window in zip(description["layers"], windows, strict=False):
        said["window"] = window
    _tables(c, exponents, draw, put, [i for i in values if i < c["layers"]])
    if c.get("classes"):
        first = classes_of(c["vocab"], c["classes"], rng)
        put("classes", "I", first)
        put("class.q", "b", draw(127, len(first) * c["dim"]), len(first), c["dim"])
        put("class.scale", "h", [rng.randint(8000, 32767) for _ in first])
        exponents["class"] = exponents["head"]
    for name in biases:
        heads = ["head", "class"] if c.get("classes") else ["head"]
        for matrix in heads if name == "head" else [f"layers.{i}.{name}" for i in range(c["layers"])]:
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


def _tables(
    c: dict[str, Any],
    exponents: dict[str, int],
    draw: Callable[[int, int], list[int]],
    put: Callable[..., None],
    values: list[int],
) -> None:
    """Of values, and of pairs."""
    nibbles, inputs = c.get("nibbles", 0), c.get("embed_rows") or c["vocab"]

    def table(name: str, rows: int, cols: int, packed: int) -> None:
        numbers = draw(7 if packed else 127, rows * cols)
        if packed:
            pairs = [numbers[i] & 15 | (numbers[i + 1] & 15) << 4 for i in range(0, len(numbers), 2)]
            numbers, cols = [v - (v > 127) * 256 for v in pairs], cols // 2
        put(name + ".q", "b", numbers, rows, cols)
        put(name + ".scale", "h", [abs(v) % 3000 + 300 for v in draw(32767, rows)])
        exponents[name] = 13 if packed else 16

    if c.get("pair_bits"):
        table("pairs", 4 << c["pair_bits"], c["dim"] // 4, nibbles & 2)
    for i in values:
        table(f"layers.{i}.values", inputs, c["kv_heads"] * c["head_dim"], nibbles & 1)


def classes_of(vocab: int, count: int, rng: random.Random) -> list[int]:
    """First tokens of about so many classes: ranges that questions split off, of any size."""
    _, tokens = tiny.tokenizer_json(vocab)
    left, done = [Range(0, vocab)], []
    while left and len(left) + len(done) < count:
        node = left.pop(rng.randrange(len(left)))
        sides = split(tokens, node)
        if sides is None:
            done.append(node)
        else:
            left += sides
    return sorted(node.low for node in left + done)


def write(path: Path, **kwargs: Any) -> Path:
    """A model's file."""
    zlm.write(path, *tensors_of(**kwargs))
    return path


def anything(seed: int) -> dict[str, Any]:
    """Arguments of :func:`tensors_of` for a model of any combination."""
    rng = random.Random(seed)
    heads, kv_heads = rng.choice([(1, 1), (2, 1), (2, 2), (4, 2), (3, 1)])
    more, by = extras(random.Random(seed + 100)), scales(random.Random(seed + 200))
    if not more.get("pair_bits"):
        by.pop("pair_scale", None)
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
        **more,
        "layer": {
            "wide": rng.randrange(16),
            "k_frac": rng.choice([0, 5, 16, 18, 20, 24, 30]),
            "v_shift": rng.choice([0, 8, 12, 20, 40]),
            "up_frac": rng.choice([0, 9, 12]),
            **by,
        },
    }


def extras(rng: random.Random) -> dict[str, Any]:
    """Some of a head of two levels, tables, pairs and windows; of every third model none."""
    if rng.random() < 0.3:
        return {}
    window = rng.choice([32, 64, 96])
    return {
        "classes": rng.choice([0, 2, 3, 20, 60, 150]),
        "pair_bits": rng.choice([0, 1, 5, 9]),
        "nibbles": rng.randrange(4),
        "values": rng.choice([(), (0,)]),
        "window": window,
        "windows": (rng.randrange(32, window + 1, 32),),
        "positions": rng.choice([0, 96]),
    }


def scales(rng: random.Random) -> dict[str, int]:
    """Of the residual, the embedding and the pair, or none."""
    if rng.random() < 0.4:
        return {}
    most = rng.choice([32767, 9000])
    names = ("residual_scale", "embed_scale", "pair_scale")
    return {name: rng.choice([0, rng.randint(-most, most), most]) for name in names}
