"""The transformer on tensors: any number of tokens of any number of lanes at once (``docs/arithmetic.md``, section 4).

A row's integers depend on the tokens before it in its lane only, so neither the number of lanes nor that of tokens in a
step changes any.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zllm.executors import numerics as nm
from zllm.executors.attention import Cache, attention, begin
from zllm.executors.weights import Layer, Map, Table, Weights

_PAIRS = (
    (0x9E3779B1, 0x85EBCA77),
    (0xC2B2AE3D, 0x27D4EB2F),
    (0x165667B1, 0xD3A2646D),
    (0xFD7046C5, 0xB55A4F09),
)
"""Multipliers of a token and of the one before, for each part of a pair's row. (Of 18 and 32 bits: sums have 51.)"""


class Network:
    """A model's layers on its device."""

    def __init__(self, weights: Weights) -> None:
        self.w = weights
        self.tables = nm.Tables(weights.device)

    def feed(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Feed tokens int64 [lanes][count]: what the last layer leaves, int32 [lanes * count][dim]. Where positions
        have an end, no step goes across it."""
        w = self.w
        if w.period:
            cache.position %= w.period
        step = begin(w, cache, tokens, self.tables)
        first = x = self._embed(cache, tokens)
        pair = first if w.pairs is None else self._pairs(w.pairs, cache, tokens)
        for i, layer in enumerate(w.layers):
            if layer.by != (nm.ONE, 0, 0):
                x = nm.blend((x, first, pair), layer.by)
            row = self._quantise(x, None, layer.qkv)
            heads = attention(w, cache, i, self._map(layer.qkv, row, 12), step)
            attended = self._project(x, layer.o, heads, 39 - layer.v_shift)
            x = self._feed_forward(attended, x if w.parallel else attended, layer)
        cache.position += tokens.shape[1]
        cache.before = tokens[:, -1]
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Of rows that :meth:`feed` gave, int32 [rows][outputs], in log2 units of 2^-16: of classes, if there are any,
        and of tokens."""
        row = self._quantise(x, None, self.w.head)
        tokens = self._map(self.w.head, row, nm.SCORE_FRAC)
        if not self.w.classes:
            return tokens
        return torch.cat((self._map(self.w.class_head, row, nm.SCORE_FRAC), tokens), -1)

    def weights(self, x: Tensor) -> Tensor:
        """The coder's weights, int32 [rows][outputs], those of tokens by the largest of their class; logits differ by
        less than 2^31."""
        w, logits = self.w, self.logits(x)
        if not w.classes:
            return nm.weight(logits.amax(-1, keepdim=True) - logits, self.tables)
        classes, tokens = logits[:, : w.classes], logits[:, w.classes :]
        largest = torch.empty_like(classes)
        largest.scatter_reduce_(1, w.class_of.expand_as(tokens), tokens, "amax", include_self=False)
        less = (classes.amax(-1, keepdim=True) - classes, largest[:, w.class_of] - tokens)
        return nm.weight(torch.cat(less, -1), self.tables)

    def _pairs(self, table: Table, cache: Cache, tokens: Tensor) -> Tensor:
        """The rows of each token and the one before it."""
        bits, before = self.w.pair_bits, torch.cat((cache.before[:, None], tokens[:, :-1]), 1)
        parts = []
        for part, (a, b) in enumerate(_PAIRS):
            mixed = (tokens * a + before * b) & 0xFFFFFFFF
            parts.append(table((mixed >> (32 - bits)) + (part << bits)))
        return torch.cat(parts, -1).view(-1, self.w.dim)

    def _embed(self, cache: Cache, tokens: Tensor) -> Tensor:
        w = self.w
        x = w.embedding(tokens)
        if w.positions is not None:
            own = cache.position[:, None] + torch.arange(tokens.shape[1], device=w.device)
            x = nm.add(x, w.positions[own])
        return x.view(-1, w.dim)

    def _quantise(self, x: Tensor, frac: int | None, of: Map) -> nm.Row:
        return nm.quantise(x, frac, self.tables, of.wide)

    def _map(self, m: Map, row: nm.Row, frac: int) -> Tensor:
        return _scaled(m, _sums(m, row), row.scale, frac, slice(None))

    def _project(self, x: Tensor, m: Map, inner: Tensor, frac: int) -> Tensor:
        """x + the map of ``inner``."""
        return nm.add(x, self._map(m, self._quantise(inner, frac, m), nm.RESIDUAL_FRAC))

    def _feed_forward(self, x: Tensor, read: Tensor, layer: Layer) -> Tensor:
        m, ffn = layer.gate_up, self.w.ffn
        row = self._quantise(read, None, m)
        sums = _sums(m, row)
        gate = _scaled(m, sums, row.scale, nm.GATE_FRAC, slice(ffn)).clamp(-32767, 32767) + 32767
        if self.w.mlp:
            return self._project(x, layer.down, self.tables.gelu[gate], nm.GELU_FRAC)
        up = _scaled(m, sums, row.scale, layer.up_frac, slice(ffn, None)).clamp(-32767, 32767)
        inner = self.tables.swish[gate] * up  # below 2^30
        return self._project(x, layer.down, inner, nm.GATE_FRAC + layer.up_frac)


def _sums(m: Map, row: nm.Row) -> Tensor:
    """Of products: int32, of wide rows int64."""
    acc = m.matrix(row.high)
    if row.low is None:
        return acc
    return (acc.to(torch.int64) << 7) + m.matrix(row.low)


def _scaled(m: Map, sums: Tensor, scale: nm.Scale, frac: int, part: slice) -> Tensor:
    """A part of a map's result, with ``frac`` fractional bits."""
    out = nm.descale(sums[:, part], m.scale[part], scale.mantissa, scale.exponent + (m.exponent - 15 - frac))
    return out if m.bias is None else nm.add(out, m.bias[part])
