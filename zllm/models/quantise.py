"""Turn a trained float network into the integers of a ``.zlm`` file (``docs/arithmetic.md``, section 7).

int8 weights with one scale an output row; scales are rounded to 15 bits *before* the weights are divided by them, so
their rounding costs nothing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zllm._native import ARITHMETIC_VERSION
from zllm.errors import ModelError
from zllm.models.config import ModelConfig
from zllm.models.portable import power_above, power_below, total
from zllm.models.texttokenizer import TextTokenizer
from zllm.models.tokenizer import BytesTokenizer
from zllm.models.training.network import Network, rms_norm
from zllm.models.zlm import FORMAT
from zllm.models.zlm import Tensor as FileTensor

LOG2E = 1.4426950408889634
CLIPS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)  # of a row's largest weight; the one with the least squared error wins
HEADROOM = 4.0  # of calibrated maxima


_BLOCK = 4096  # rows that are in memory in double precision at a time


def file_tensor(dtype: str, values: np.ndarray) -> FileTensor:
    """A tensor of a model file."""
    kinds = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "I32": "<i4", "U32": "<u4"}
    return dtype, tuple(values.shape), memoryview(np.ascontiguousarray(values, kinds[dtype]).tobytes())


def row_scales(weights: Tensor) -> Tensor:
    """Float scales [rows] that give the least squared error of the rounded weights."""
    largest = weights.abs().amax(1).clamp_min(1e-12)
    best, best_error = largest / 127, torch.full_like(largest, math.inf)
    for clip in CLIPS:
        scale = largest * clip / 127
        rounded = (weights / scale[:, None]).round().clamp(-127, 127) * scale[:, None]
        error = total((rounded - weights).square())
        better = error < best_error
        best = torch.where(better, scale, best)
        best_error = torch.where(better, error, best_error)
    return best


def quantise_matrix(weights: Tensor, gain: float = 1.0) -> tuple[np.ndarray, np.ndarray, int]:
    """float [rows, cols] -> (q int8, scale int16 [rows], exponent); ``gain`` multiplies the value, not q."""
    blocks = torch.split(weights.detach(), _BLOCK)
    scale = torch.cat([row_scales(block.double()) for block in blocks]) * gain
    if not math.isfinite(float(scale.max())):
        raise ModelError("the numbers of a matrix are too large")
    exponent = 14 - power_below(float(scale.max()))
    if float(scale.max()) * 2.0**exponent >= 32767.5:
        exponent -= 1
    mantissa = (scale * 2.0**exponent).round().clamp(1, 32767)
    q = torch.cat(
        [
            (block.double() * gain / (m * 2.0**-exponent)[:, None]).round().clamp(-127, 127).to(torch.int8)
            for block, m in zip(blocks, torch.split(mantissa, _BLOCK), strict=True)
        ]
    )
    return q.numpy(), mantissa.numpy().astype(np.int16), exponent


def calibrate(network: Network, ids: Tensor) -> list[tuple[float, float]]:
    """Largest |value| and |up projection| of each layer on ``ids`` [B, T]."""
    found: list[tuple[float, float]] = []
    with torch.no_grad():
        cos, sin, mask = network.tables(ids.shape[1])
        x = rms_norm(network.embed(ids))
        for layer in network.blocks():
            value = layer.v(rms_norm(x)).abs().max()
            middle = x + layer.attention(rms_norm(x), cos, sin, mask)
            up = layer.up(rms_norm(middle)).abs().max()
            found.append((float(value), float(up)))
            x = layer(x, cos, sin, mask)
    return found


def layer_numbers(temperature: float, value_max: float, up_max: float) -> dict[str, int]:
    """A layer's fields; ``temperature`` multiplies scores, whose softmax has the base e."""
    factor = temperature * LOG2E
    exponent = 15 - power_below(factor)
    mantissa = min(65535, round(factor * 2.0**exponent))
    # A value's scale is absmax * 2^23 / 127 * 2^-v_shift with absmax in 2^-12, and must stay below 2^15.
    largest = HEADROOM * value_max * 2**12 * 2**23 / 127
    up = 15 - power_above(HEADROOM * up_max)
    return {
        "temperature": mantissa,
        "temperature_exponent": exponent,
        "v_shift": max(0, min(40, power_above(largest) - 15)),
        "up_frac": max(0, min(12, up)),
    }


def token_tensors(tokenizer: BytesTokenizer | TextTokenizer) -> dict[str, FileTensor]:
    """The token table and what the encoder needs to make tokens of text."""
    offsets = np.cumsum([0, *map(len, tokenizer.tokens)])
    return {
        "tokens.bytes": file_tensor("U8", np.frombuffer(b"".join(tokenizer.tokens), np.uint8)),
        "tokens.offsets": file_tensor("U32", offsets),
        "tokenizer.json": file_tensor("U8", np.frombuffer(json.dumps(json.loads(tokenizer.json)).encode(), np.uint8)),
    }


def quantise_network(
    network: Network, tokenizer: BytesTokenizer, sample: Tensor, name: str, origin: str
) -> tuple[dict[str, Any], dict[str, FileTensor]]:
    """(description, tensors) of a ``.zlm`` file. ``sample`` ids [B, T] calibrate the ranges."""
    network = network.float().cpu()
    config = network.config
    tensors = token_tensors(tokenizer)
    exponents: dict[str, int] = {}
    layers = []

    def put(key: str, weights: Tensor, gain: float = 1.0) -> None:
        q, scale, exponents[key] = quantise_matrix(weights, gain)
        tensors[key + ".q"], tensors[key + ".scale"] = file_tensor("I8", q), file_tensor("I16", scale)

    embed = network.embed.weight.detach().double()
    put("head", embed, LOG2E)
    # The embedding is normalised, which only changes the rows' scales: q is shared with the head.
    head_scale = torch.from_numpy(np.frombuffer(tensors["head.scale"][2], "<i2").astype(np.float64))
    rms = embed.square().mean(1).sqrt()
    scale = head_scale * 2.0 ** -exponents["head"] / LOG2E / rms * 65536
    tensors["embed.scale"] = file_tensor("I16", scale.round().clamp(1, 32767).numpy())
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    tensors["rope.step"] = file_tensor("U32", np.round(frequency / (2 * np.pi) * 2.0**32))
    for i, (layer, (value, up)) in enumerate(zip(network.blocks(), calibrate(network, sample), strict=True)):
        put(f"layers.{i}.qkv", torch.cat((layer.q.weight, layer.k.weight, layer.v.weight)))
        put(f"layers.{i}.o", layer.o.weight)
        put(f"layers.{i}.gate_up", torch.cat((layer.gate.weight, layer.up.weight)))
        put(f"layers.{i}.down", layer.down.weight)
        temperature = float(layer.temperature.detach()) / math.sqrt(config.head_dim)
        layers.append(layer_numbers(temperature, value, up))
    description = {
        "format": FORMAT,
        "name": name,
        "origin": origin,
        "arithmetic": ARITHMETIC_VERSION,
        "config": config.as_dict(),
        "exponents": exponents,
        "layers": layers,
    }
    return description, tensors


def load_checkpoint(folder: Path, *, best: bool = False) -> tuple[Network, BytesTokenizer]:
    """The network and tokenizer of a training run's folder; ``best``: as they were best on the held-out text."""
    tokenizer = BytesTokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    network = Network(ModelConfig.from_dict(facts["config"]))
    if best and (folder / "best.pt").exists():
        network.load_state_dict(torch.load(folder / "best.pt", map_location="cpu", weights_only=True))
    else:
        state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
    return network, tokenizer
