"""Keys, values and attention of many streams (``docs/arithmetic.md``, section 4, steps 2 to 6).

Each lane is a stream. Its keys and values lie in rings of ``capacity`` slots, the one of position p in slot p mod
capacity: enough for the longest window and the tokens of one step, so that no token's key is written over before the
step's first token has seen it. What a slot holds follows from the lane's position alone, so that setting it to 0
forgets all.

Scores are products of float32 whose sums stay below 256 * 127 * 127 < 2^24. Weights of values have 15 bits, so that
sums over a window would not: they are cut into an upper part of at most 255 and a lower one of at most 127, and
512 * 255 * 127 is below 2^24 as well. Those of a longer window are cut into three parts of 5 bits: 4096 * 31 * 127 is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zllm.executors import numerics as nm
from zllm.executors.products import batched
from zllm.executors.weights import Layer, Weights

_NEVER = -(1 << 30)
"""Below every score; what is not attended to has it, and then weighs nothing."""
_SHORT = 512
"""Tokens of a window whose weights are cut into two parts."""


class Cache:
    """Keys and values of all lanes in all layers."""

    def __init__(self, w: Weights, lanes: int, capacity: int) -> None:
        self.capacity = capacity
        shape = (len(w.layers), lanes, w.kv_heads, capacity)
        self.keys = torch.zeros(*shape, w.head_dim, dtype=torch.int8, device=w.device)
        self.values = torch.zeros_like(self.keys)
        self.key_scale = torch.zeros(shape, dtype=torch.int16, device=w.device)
        self.value_scale = torch.zeros_like(self.key_scale)
        self.position = torch.zeros(lanes, dtype=torch.int64, device=w.device)
        """Of each lane's next token."""
        self.before = torch.zeros_like(self.position)
        """The token that each lane was fed last; at first that of the byte 0x00."""

    def restart(self, lanes: Tensor) -> None:
        """These lanes start anew."""
        self.position[lanes] = 0
        self.before[lanes] = 0

    def keep(self, lanes: Tensor) -> None:
        """Only these lanes, numbered anew. One tensor after the other, so that little is held twice."""
        for name in ("keys", "values", "key_scale", "value_scale"):
            setattr(self, name, getattr(self, name).index_select(1, lanes))
        self.position = self.position.index_select(0, lanes)
        self.before = self.before.index_select(0, lanes)


@dataclass
class Step:
    """``count`` tokens of every lane: what all layers share."""

    lanes: int
    count: int
    sine: Tensor  # int32 [lanes][count][1][head_dim / 2]
    cosine: Tensor
    slot: tuple[Tensor, Tensor, Tensor]  # index of lane, key head and slot, of shape [lanes][kv_heads][count]
    # By window, bool [lanes][1][1][count][capacity]: slots that a token does not attend to.
    unseen: dict[int, Tensor]
    tokens: Tensor  # int64 [lanes][count]
    tables: nm.Tables


def begin(w: Weights, cache: Cache, tokens: Tensor, tables: nm.Tables) -> Step:
    """The step that feeds tokens [lanes][count] to each lane from its position on."""
    device, (lanes, count) = w.device, tokens.shape
    own = cache.position[:, None] + torch.arange(count, device=device)
    sine, cosine = nm.sincos(own[:, :, None, None] * w.rope_step, tables)
    last = own[:, -1:]
    slots = torch.arange(cache.capacity, device=device)
    held = last - (last - slots) % cache.capacity  # the position in each slot after this step; below 0: none
    there = (held[:, None] <= own[:, :, None]) & (held[:, None] >= 0)
    unseen = {
        window: ~(there & (held[:, None] > own[:, :, None] - window))[:, None, None]
        for window in {layer.window for layer in w.layers}
    }
    lane = torch.arange(lanes, device=device)[:, None, None]
    head = torch.arange(w.kv_heads, device=device)[None, :, None]
    slot = (lane, head, (own % cache.capacity)[:, None])
    return Step(lanes, count, sine, cosine, slot, unseen, tokens, tables)


def fourteen_bits(h: Tensor) -> tuple[Tensor, Tensor]:
    """Heads that are brought to 14 bits, and by how many bits they were shifted down: int32. They are shifted up by 14
    first, so that there is one direction only."""
    k = nm.bits(h.abs().amax(-1, keepdim=True)) - 14
    return ((h.to(torch.int64) << 14) >> (k + 14)).to(torch.int32), k


def rotate(h: Tensor, step: Step) -> tuple[Tensor, Tensor]:
    """Heads [lanes][count][n][head_dim], rotated, and k. Of 14 bits times 15 each: all sums are below 2^30."""
    h, k = fourteen_bits(h)
    half = h.shape[-1] // 2
    a, b = h[..., :half], h[..., half:]
    low = (a * step.cosine - b * step.sine + 16384) >> 15
    high = (b * step.cosine + a * step.sine + 16384) >> 15
    return torch.cat((low, high), -1), k


def compared(h: Tensor, w: Weights, gain: tuple[Tensor, Tensor] | None, step: Step) -> tuple[Tensor, nm.Scale]:
    """Query and key heads as they are compared: int8 and scales. (Of 14 bits, times gains of 15: 29.)"""
    if gain is None:
        rotated, k = rotate(h, step)
        row = nm.quantise(rotated, None if w.qk == 0 else 12 - k, step.tables)
        return row.high, row.scale
    small, _ = fourteen_bits(h)
    norm = nm.norm_scale((small * small).sum(-1, keepdim=True), w.head_dim, step.tables)
    rotated, k = rotate(small * gain[0], step)
    row = nm.quantise(rotated, gain[1] - k, step.tables)
    return row.high, nm.multiply(row.scale, norm)


def _remember(cache: Cache, i: int, layer: Layer, step: Step, new: tuple[Tensor, nm.Scale, Tensor]) -> None:
    """Put keys, quantised, and values [lanes][count][kv_heads][head_dim] into their slots."""
    key, scale, value = new
    over = scale.exponent - layer.k_frac
    kept = (scale.mantissa >> over.clamp(0, 31)).clamp(max=32767).masked_fill(over < 0, 32767)
    largest = value.abs().amax(-1, keepdim=True).to(torch.int64)
    weight = ((largest * 66052) >> layer.v_shift).clamp(max=32767)
    q, _, _ = nm.divided(value, largest, 54, step.tables)
    for part, rows in ((cache.keys, key), (cache.values, q.to(torch.int8))):
        part[i].index_put_(step.slot, rows.transpose(1, 2))
    for part, rows in ((cache.key_scale, kept), (cache.value_scale, weight)):
        part[i].index_put_(step.slot, rows.squeeze(-1).transpose(1, 2).to(torch.int16))


def attention(w: Weights, cache: Cache, i: int, qkv: Tensor, step: Step) -> Tensor:
    """All heads' outputs of layer i, int32 [rows][heads * head_dim], with 39 - v_shift fractional bits."""
    layer, group, dim = w.layers[i], w.heads // w.kv_heads, w.head_dim
    h = qkv.view(step.lanes, step.count, -1, dim)
    both, scale = compared(h[:, :, : -w.kv_heads], w, layer.gain, step)
    k_scale = nm.Scale(*(part[:, :, w.heads :] for part in scale))
    value = h[:, :, -w.kv_heads :]
    if layer.values is not None:
        value = nm.add(value, layer.values(step.tokens).view(value.shape))
    _remember(cache, i, layer, step, (both[:, :, w.heads :], k_scale, value))
    factor = nm.multiply(nm.Scale(*(part[:, :, : w.heads] for part in scale)), layer.temperature)

    def by_key_head(x: Tensor) -> Tensor:
        """[lanes][count][heads][n] as [lanes][kv_heads][group][count][n]."""
        return x.reshape(step.lanes, step.count, w.kv_heads, group, -1).permute(0, 2, 3, 1, 4)

    rows = (step.lanes, w.kv_heads, group, step.count)
    queries = by_key_head(both[:, :, : w.heads]).to(torch.float32).reshape(*rows[:2], -1, dim)
    acc = batched(queries, cache.keys[i].to(torch.float32).transpose(-1, -2)).view(*rows, -1)
    shift = by_key_head(factor.exponent) + (layer.k_frac - 15 - nm.SCORE_FRAC)
    scales = cache.key_scale[i][:, :, None, None].to(torch.int64)
    score = nm.descale(acc, scales, by_key_head(factor.mantissa), shift)
    return _mix(cache, i, step, score, layer.window).reshape(step.lanes * step.count, -1)


def _mix(cache: Cache, i: int, step: Step, score: Tensor, window: int) -> Tensor:
    """Values by their weights, [lanes][count][kv_heads][group][head_dim]. Scores, which are changed, differ by less
    than 2^31."""
    bits = (7, 8) if window <= _SHORT else (5, 5, 5)  # of the parts of weights, the lowest first
    unseen = step.unseen[window]
    score.masked_fill_(unseen, _NEVER)
    e = nm.exp2(score.amax(-1, keepdim=True) - score, step.tables).masked_fill_(unseen, 0)
    c = torch.floor_divide(step.tables.one, e.sum(-1, keepdim=True))
    weight = (e * cache.value_scale[i][:, :, None, None].to(torch.int32) + 16384) >> 15
    lanes, heads, group, count, slots = weight.shape
    above = [sum(bits[:part]) for part in range(len(bits))]
    parts = torch.stack([weight >> low & (1 << n) - 1 for low, n in zip(above, bits, strict=True)], 2)
    values = cache.values[i].to(torch.float32)
    sums = batched(parts.view(lanes, heads, -1, slots).to(torch.float32), values).to(torch.int64)
    sums = sums.view(lanes, heads, len(bits), group, count, -1)
    whole = sum(sums[:, :, part] << low for part, low in enumerate(above))
    return ((whole * c + (1 << 18)) >> 19).to(torch.int32).permute(0, 3, 1, 2, 4)
