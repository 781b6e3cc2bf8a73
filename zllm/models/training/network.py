"""The float network that is trained: Llama-shaped, with RMS-normalised queries and keys (the shape of Qwen3).

It has no gain vectors and no biases, so that its integer twin (``docs/arithmetic.md``) needs none. Attention sees the
last ``window`` tokens only, in training as in coding: the code stream of a long member slides over its text.

Sources: Touvron et al. 2023 (Llama); Henry et al. 2020 (query-key normalisation); Su et al. 2021 (rotary positions);
Shazeer 2020 (gated linear units); Zhou et al. 2024 (value residuals) and the speed runs of modded-nanogpt (value
embeddings, scales of the residual and of the embedding, rows by a hash of two tokens); Svenstrup et al. 2017 (hash
embeddings: parts of a row by hashes of their own).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zllm.models.config import ModelConfig
from zllm.models.training.heads import TwoLevelHead

PARTS = 4
# Odd multipliers of the current token and of the one before, for each part of a hashed row.
_HASHES = (
    (0x9E3779B1, 0x85EBCA77),
    (0xC2B2AE3D, 0x27D4EB2F),
    (0x165667B1, 0xD3A2646D),
    (0xFD7046C5, 0xB55A4F09),
)


@dataclass(frozen=True)
class Extras:
    """Capacity that costs next to no multiplications, and a cheaper head; by default there is none of it.

    ``value_layers``: layers to whose values a row of a table of the layer's own is added, by the current token.
    ``pair_bits``: a row of a table of 2^pair_bits, looked up by a hash of the current token and the one before (one for
    each of four parts of the row), is added to the residual before each layer, times a learned scale.
    ``scales``: before each layer the residual and the first embedding are added up, each times a learned scale.
    ``classes``: the first token of each class of a two-level head; without, there is one softmax over all tokens.
    ``tied``: the head's matrix of tokens is the embedding.
    ``windows``: tokens that each layer attends to, at most the config's window, which they all have if none are given.
    """

    value_layers: Sequence[int] = ()
    pair_bits: int = 0
    scales: bool = False
    classes: Sequence[int] = ()
    tied: bool = True
    windows: Sequence[int] = ()


@dataclass(frozen=True)
class Rows:
    """What is looked up once for all layers: the first embedding, rows for the values of some layers, rows of pairs."""

    first: Tensor
    values: dict[int, Tensor]
    pairs: Tensor | None


def pair_rows(ids: Tensor, bits: int) -> Tensor:
    """Rows of the table of pairs, int64 [B, T, PARTS], those of part i counted from i * 2^bits.

    The token before the first is that of the byte 0x00.
    """
    before = F.pad(ids[:, :-1], (1, 0))
    parts = []
    for part, (a, b) in enumerate(_HASHES):
        mixed = (ids * a + before * b) & 0xFFFFFFFF
        parts.append((mixed >> (32 - bits)) + (part << bits))
    return torch.stack(parts, -1)


def rms_norm(x: Tensor) -> Tensor:
    """x / rms(x) over the last axis."""
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)


def rotary_tables(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, float32 [length, head_dim / 2]."""
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency[None, :]
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, T, heads, head_dim]; the first half of a head turns against the second (GPT-NeoX order)."""
    a, b = x.chunk(2, dim=-1)
    c, s = cos[None, :, None, :].to(x.dtype), sin[None, :, None, :].to(x.dtype)
    return torch.cat((a * c - b * s, b * c + a * s), dim=-1)


class Block(nn.Module):
    """One layer: windowed attention, then a gated feed-forward."""

    def __init__(self, config: ModelConfig, window: int | None = None) -> None:
        super().__init__()
        d, hd = config.dim, config.head_dim
        self.config = config
        self.window = window or config.window
        self.q = nn.Linear(d, config.heads * hd, bias=False)
        self.k = nn.Linear(d, config.kv_heads * hd, bias=False)
        self.v = nn.Linear(d, config.kv_heads * hd, bias=False)
        self.o = nn.Linear(config.heads * hd, d, bias=False)
        self.gate = nn.Linear(d, config.ffn, bias=False)
        self.up = nn.Linear(d, config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, d, bias=False)
        self.temperature = nn.Parameter(torch.tensor(1.2))
        for out in (self.o, self.down):
            nn.init.zeros_(out.weight)

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, values: Tensor | None = None) -> Tensor:
        """Windowed attention of normalised x [B, T, dim]; ``values`` [B, T, kv width] is added to the values."""
        c = self.config
        bsz, length, _ = x.shape
        w = self.window
        blocks = length // w
        q = rotate(rms_norm(self.q(x).view(bsz, length, c.heads, c.head_dim)), cos, sin)
        k = rotate(rms_norm(self.k(x).view(bsz, length, c.kv_heads, c.head_dim)), cos, sin)
        v = self.v(x)
        if values is not None:
            v = v + values.to(v.dtype)
        v = v.view(bsz, length, c.kv_heads, c.head_dim)
        group = c.heads // c.kv_heads
        # Each block of `window` queries sees its own block of keys and the one before. The query heads that share a
        # key head are laid end to end as if they were further positions, so keys are never copied for them.
        q = (q * self.temperature).view(bsz, blocks, w, c.kv_heads, group, c.head_dim).permute(0, 1, 3, 4, 2, 5)
        q = q.reshape(bsz * blocks, c.kv_heads, group * w, c.head_dim)

        def pairs(t: Tensor) -> Tensor:
            t = t.view(bsz, blocks, w, c.kv_heads, c.head_dim)
            both = torch.cat((torch.cat((torch.zeros_like(t[:, :1]), t[:, :-1]), 1), t), 2)
            return both.permute(0, 1, 3, 2, 4).reshape(bsz * blocks, c.kv_heads, 2 * w, c.head_dim)

        # Products and softmax one by one: compiled, that takes 0.6 of the time of torch's own attention with a mask.
        scores = q @ pairs(k).mT / math.sqrt(c.head_dim)
        scores = scores.view(bsz, blocks, c.kv_heads, group, w, 2 * w) + mask[:, :, None]
        y = scores.softmax(-1).to(v.dtype).view(bsz * blocks, c.kv_heads, group * w, 2 * w) @ pairs(v)
        y = y.view(bsz, blocks, c.kv_heads, group, w, c.head_dim).permute(0, 1, 4, 2, 3, 5)
        out: Tensor = self.o(y.reshape(bsz, length, c.heads * c.head_dim))
        return out

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, values: Tensor | None = None) -> Tensor:
        """x [B, T, dim] -> the same shape."""
        x = x + self.attention(rms_norm(x), cos, sin, mask, values)
        n = rms_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(n)) * self.up(n))
        return out


class Network(nn.Module):
    """ids int64 [B, T] (T a multiple of the window) -> logits [B, T, vocab], or losses of targets."""

    def __init__(self, config: ModelConfig, extras: Extras | None = None) -> None:
        super().__init__()
        self.config = config
        self.extras = e = extras or Extras()
        self.embed = nn.Embedding(config.vocab, config.dim)
        nn.init.normal_(self.embed.weight, std=0.02)
        windows = e.windows or (config.window,) * config.layers
        self.layers = nn.ModuleList(Block(config, window) for window in windows)
        self.value_tables = nn.ModuleList(
            _zeros(config.vocab, config.kv_heads * config.head_dim) for _ in e.value_layers
        )
        if e.pair_bits:
            self.pairs = _zeros(PARTS << e.pair_bits, config.dim // PARTS)
            self.pair_scales = nn.Parameter(torch.full((config.layers,), 0.5))
        if e.scales:
            self.residual_scales = nn.Parameter(torch.ones(config.layers))
            self.embed_scales = nn.Parameter(torch.zeros(config.layers))
        if e.classes:
            self.head = TwoLevelHead(e.classes, config.vocab, config.dim)
        if not e.tied:
            self.tokens = nn.Parameter(torch.randn(config.vocab, config.dim) * 0.02)
        self._cache: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def token_matrix(self) -> Tensor:
        """The head's rows for tokens, [vocab, dim]."""
        return self.embed.weight if self.extras.tied else self.tokens

    def tables(self, length: int, window: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """cos, sin [length, head_dim / 2] and the additive mask [length / window, 1, window, 2 window]."""
        w, device = window or self.config.window, self.embed.weight.device
        if (length, w) not in self._cache:
            i = torch.arange(w)[:, None]
            j = torch.arange(2 * w)[None, :]
            band = (j > i) & (j <= i + w)
            mask = torch.zeros(length // w, w, 2 * w)
            mask.masked_fill_(~band, -math.inf)
            mask[0, :, :w] = -math.inf
            cos, sin = rotary_tables(self.config, length)
            self._cache[length, w] = (cos.to(device), sin.to(device), mask[:, None].to(device))
        return self._cache[length, w]

    def blocks(self) -> list[Block]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, Block)]

    def hidden(self, ids: Tensor) -> Tensor:
        """The last layer's normalised output, [B, T, dim]."""
        x, rows = self.look_up(ids)
        for number, layer in enumerate(self.blocks()):
            cos, sin, mask = self.tables(ids.shape[1], layer.window)
            x = self.blend(number, x, rows)
            x = layer(x, cos, sin, mask.to(x.dtype), rows.values.get(number))
        return rms_norm(x)

    def look_up(self, ids: Tensor) -> tuple[Tensor, Rows]:
        """The residual that the first layer starts with, and all that layers add to it or to their values."""
        x = rms_norm(self.embed(ids))
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        x, e = x.to(dtype), self.extras
        values = {layer: table(ids) for layer, table in zip(e.value_layers, self.value_tables, strict=True)}
        pairs = self.pairs(pair_rows(ids, e.pair_bits)).flatten(2).to(dtype) if e.pair_bits else None
        return x, Rows(x, values, pairs)

    def blend(self, number: int, x: Tensor, rows: Rows) -> Tensor:
        """What layer ``number`` reads in place of the residual ``x``."""
        if self.extras.scales:
            scales = self.residual_scales[number].to(x.dtype), self.embed_scales[number].to(x.dtype)
            x = scales[0] * x + scales[1] * rows.first
        if rows.pairs is not None:
            x = x + self.pair_scales[number].to(x.dtype) * rows.pairs
        return x

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, [B, T, vocab], of a network without classes."""
        if self.extras.classes:
            raise ValueError("a network with classes has no logits of all tokens")
        return F.linear(self.hidden(ids), self.token_matrix)


def _zeros(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.zeros_(table.weight)
    return table
