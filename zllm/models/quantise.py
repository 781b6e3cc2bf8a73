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
NIBBLE_CLIPS = tuple(1 - 0.04 * i for i in range(15))
HEADROOM = 4.0  # of calibrated maxima


BLEND_BITS = 13  # fractional bits of the scales of the residual, the embedding and pairs
_BLOCK = 4096  # rows that are in memory in double precision at a time


def file_tensor(dtype: str, values: np.ndarray) -> FileTensor:
    """A tensor of a model file."""
    kinds = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "I32": "<i4", "U32": "<u4"}
    return dtype, tuple(values.shape), memoryview(np.ascontiguousarray(values, kinds[dtype]).tobytes())


def row_scales(weights: Tensor, most: int = 127) -> Tensor:
    """Float scales [rows] that give the least squared error of the rounded weights, numbers up to ``most`` in size."""
    largest = weights.abs().amax(1).clamp_min(1e-12)
    best, best_error = largest / most, torch.full_like(largest, math.inf)
    for clip in CLIPS if most == 127 else NIBBLE_CLIPS:
        scale = largest * clip / most
        rounded = (weights / scale[:, None]).round().clamp(-most, most) * scale[:, None]
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


def quantise_table(weights: Tensor, nibbles: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows that are looked up, float [rows, cols] -> (q int8, scale int16 [rows], exponent); ``nibbles``: of 4 bits,
    two a byte, the first one in the lower half."""
    most = 7 if nibbles else 127
    weights = weights.detach().double()
    scale = row_scales(weights, most)
    if not math.isfinite(float(scale.max())):
        raise ModelError("the numbers of a table are too large")
    exponent = max(13, min(40, 14 - power_below(float(scale.max()))))
    mantissa = (scale * 2.0**exponent).round().clamp(1, 32767)
    q = (weights / (mantissa * 2.0**-exponent)[:, None]).round().clamp(-most, most).to(torch.int8)
    if nibbles:
        q = (q[:, ::2] & 15) | (q[:, 1::2] << 4)
    return q.numpy(), mantissa.numpy().astype(np.int16), exponent


def calibrate(network: Network, ids: Tensor) -> list[tuple[float, float]]:
    """Largest |value| and |up projection| of each layer on ``ids`` [B, T]."""
    found: list[tuple[float, float]] = []
    with torch.no_grad():
        x, rows = network.look_up(ids)
        for number, layer in enumerate(network.blocks()):
            cos, sin, mask = network.tables(ids.shape[1], layer.window)
            x, added = network.blend(number, x, rows), rows.values.get(number)
            value = layer.v(rms_norm(x)) + (0 if added is None else added)
            middle = x + layer.attention(rms_norm(x), cos, sin, mask, added)
            up = layer.up(rms_norm(middle)).abs().max()
            found.append((float(value.abs().max()), float(up)))
            x = layer(x, cos, sin, mask, added)
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


class _Maker:
    """Makes a file's tensors and exponents of a network's weights."""

    def __init__(self, network: Network, tokenizer: BytesTokenizer, nibbles: int) -> None:
        self.network, self.nibbles = network, nibbles
        self.tensors = token_tensors(tokenizer)
        self.exponents: dict[str, int] = {}

    def _put(self, key: str, q: np.ndarray, scale: np.ndarray, exponent: int) -> None:
        self.tensors[key + ".q"], self.tensors[key + ".scale"] = file_tensor("I8", q), file_tensor("I16", scale)
        self.exponents[key] = exponent

    def matrix(self, key: str, weights: Tensor, gain: float = 1.0) -> None:
        """A linear map."""
        self._put(key, *quantise_matrix(weights, gain))

    def tokens(self) -> None:
        """Embedding and head."""
        network = self.network
        embed = network.embed.weight.detach().double()
        self.matrix("head", network.token_matrix.detach().double(), LOG2E)
        rms = embed.square().mean(1).sqrt()
        if network.extras.tied:
            # The embedding is normalised, which only changes the rows' scales: q is shared with the head.
            head_scale = torch.from_numpy(np.frombuffer(self.tensors["head.scale"][2], "<i2").astype(np.float64))
            scale = head_scale * 2.0 ** -self.exponents["head"] / LOG2E / rms * 65536
            self.tensors["embed.scale"] = file_tensor("I16", scale.round().clamp(1, 32767).numpy())
        else:
            q, numbers, self.exponents["embed"] = quantise_table(embed / rms[:, None], nibbles=False)
            self.tensors["embed.q"], self.tensors["embed.scale"] = file_tensor("I8", q), file_tensor("I16", numbers)
        if network.extras.classes:
            self.tensors["classes"] = file_tensor("U32", np.array(network.extras.classes))
            self.matrix("class", network.head.weight.detach().double(), LOG2E)

    def layer(self, i: int) -> None:
        """A layer's matrices."""
        layer = self.network.blocks()[i]
        self.matrix(f"layers.{i}.qkv", torch.cat((layer.q.weight, layer.k.weight, layer.v.weight)))
        self.matrix(f"layers.{i}.o", layer.o.weight)
        self.matrix(f"layers.{i}.gate_up", torch.cat((layer.gate.weight, layer.up.weight)))
        self.matrix(f"layers.{i}.down", layer.down.weight)

    def tables(self) -> list[dict[str, int]]:
        """Tables of values and of pairs; what each layer says of windows and of scales.

        Raises:
            ModelError: a scale is 4 or more.
        """
        network, extras = self.network, self.network.extras
        fields: list[dict[str, int]] = [{} for _ in network.blocks()]
        for layer, table in zip(extras.value_layers, network.value_tables, strict=True):
            self._put(f"layers.{layer}.values", *quantise_table(_weight(table), bool(self.nibbles & 1)))
        scales: dict[str, Tensor] = {}
        if extras.scales:
            scales = {"residual_scale": network.residual_scales, "embed_scale": network.embed_scales}
        if extras.pair_bits:
            # What all layers' scales have in common goes to the table.
            largest = float(network.pair_scales.detach().abs().max().clamp_min(1e-6))
            self._put("pairs", *quantise_table(_weight(network.pairs).detach() * largest, bool(self.nibbles & 2)))
            scales["pair_scale"] = network.pair_scales.detach() / largest
        for name, values in scales.items():
            for field, value in zip(fields, values.detach().double(), strict=True):
                field[name] = round(float(value) * 2**BLEND_BITS)
                if abs(field[name]) > 32767:
                    raise ModelError(f"a layer's {name} is {float(value):.3f}, which is 4 or more in size")
        for field, window in zip(fields, extras.windows, strict=False):
            field["window"] = window
        return fields


def _weight(table: torch.nn.Module) -> Tensor:
    assert isinstance(table, torch.nn.Embedding)
    return table.weight


def quantise_network(
    network: Network, tokenizer: BytesTokenizer, sample: Tensor, name: str, origin: str, *, nibbles: int = 0
) -> tuple[dict[str, Any], dict[str, FileTensor]]:
    """(description, tensors) of a ``.zlm`` file. ``sample`` ids [B, T] calibrate the ranges. ``nibbles``: which tables
    have 4 bits a number, 1 those of values, 2 that of pairs.

    Raises:
        ModelError: the network has numbers that no model file can have.
    """
    network = network.float().cpu()
    config, extras = network.config, network.extras
    maker = _Maker(network, tokenizer, nibbles)
    maker.tokens()
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    maker.tensors["rope.step"] = file_tensor("U32", np.round(frequency / (2 * np.pi) * 2.0**32))
    layers = maker.tables()
    for i, (layer, (value, up)) in enumerate(zip(network.blocks(), calibrate(network, sample), strict=True)):
        maker.layer(i)
        temperature = float(layer.temperature.detach()) / math.sqrt(config.head_dim)
        layers[i] |= layer_numbers(temperature, value, up)
    shape = {
        "classes": len(extras.classes),
        "pair_bits": extras.pair_bits,
        "nibbles": nibbles,
        "embed_rows": 0 if extras.tied else config.vocab,
    }
    description = {
        "format": FORMAT,
        "name": name,
        "origin": origin,
        "arithmetic": ARITHMETIC_VERSION,
        "config": config.as_dict() | shape,
        "exponents": maker.exponents,
        "layers": layers,
    }
    return description, maker.tensors


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
