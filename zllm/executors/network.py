"""The transformer on tensors: any number of tokens of any number of lanes at once (``docs/arithmetic.md``, section 4).

A row's integers depend on the tokens before it in its lane only, so neither the number of lanes nor that of tokens in a
step changes any.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zllm.executors import numerics as nm
from zllm.executors.attention import Cache, attention, begin
from zllm.executors.weights import Layer, Map, Weights


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
        step = begin(w, cache, tokens.shape[1], self.tables)
        x = self._embed(cache, tokens)
        for i, layer in enumerate(w.layers):
            row = self._quantise(x, None, layer.qkv)
            heads = attention(w, cache, i, self._map(layer.qkv, row, 12), step)
            attended = self._project(x, layer.o, heads, 39 - layer.v_shift)
            x = self._feed_forward(attended, x if w.parallel else attended, layer)
        cache.position += tokens.shape[1]
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Of rows that :meth:`feed` gave, int32 [rows][vocab], in log2 units of 2^-16."""
        return self._map(self.w.head, self._quantise(x, None, self.w.head), nm.SCORE_FRAC)

    def token_weights(self, x: Tensor) -> Tensor:
        """The coder's weights of all tokens, int32 [rows][vocab]; logits differ by less than 2^31."""
        logits = self.logits(x)
        return nm.weight(logits.amax(-1, keepdim=True) - logits, self.tables)

    def _embed(self, cache: Cache, tokens: Tensor) -> Tensor:
        w = self.w
        e = w.embed_exponent
        x = w.embedding[tokens].to(torch.int64) * w.embed_scale[tokens][..., None]
        x = ((x + (1 << (e - 13))) >> (e - 12)).to(torch.int32)
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
