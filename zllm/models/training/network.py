"""The float network that is trained: Llama-shaped, with RMS-normalised queries and keys (the shape of Qwen3).

It has no gain vectors and no biases, so that its integer twin (``docs/arithmetic.md``) needs none. Attention sees the
last ``window`` tokens only, in training as in coding: the code stream of a long member slides over its text.

Sources: Touvron et al. 2023 (Llama); Henry et al. 2020 (query-key normalisation); Su et al. 2021 (rotary positions);
Shazeer 2020 (gated linear units).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zllm.models.config import ModelConfig


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

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, hd = config.dim, config.head_dim
        self.config = config
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

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """Windowed attention of normalised x [B, T, dim]."""
        c = self.config
        bsz, length, _ = x.shape
        w = c.window
        blocks = length // w
        q = rotate(rms_norm(self.q(x).view(bsz, length, c.heads, c.head_dim)), cos, sin)
        k = rotate(rms_norm(self.k(x).view(bsz, length, c.kv_heads, c.head_dim)), cos, sin)
        v = self.v(x).view(bsz, length, c.kv_heads, c.head_dim)
        group = c.heads // c.kv_heads
        # Each block of `window` queries sees its own block of keys and the one before. The query heads that share a
        # key head are laid end to end as if they were further positions, so keys are never copied for them.
        q = (q * self.temperature).view(bsz, blocks, w, c.kv_heads, group, c.head_dim).permute(0, 1, 3, 4, 2, 5)
        q = q.reshape(bsz * blocks, c.kv_heads, group * w, c.head_dim)

        def pairs(t: Tensor) -> Tensor:
            t = t.view(bsz, blocks, w, c.kv_heads, c.head_dim)
            both = torch.cat((torch.cat((torch.zeros_like(t[:, :1]), t[:, :-1]), 1), t), 2)
            return both.permute(0, 1, 3, 2, 4).reshape(bsz * blocks, c.kv_heads, 2 * w, c.head_dim)

        y = F.scaled_dot_product_attention(q, pairs(k), pairs(v), attn_mask=mask.repeat(bsz, 1, group, 1))
        y = y.view(bsz, blocks, c.kv_heads, group, w, c.head_dim).permute(0, 1, 4, 2, 3, 5)
        out: Tensor = self.o(y.reshape(bsz, length, c.heads * c.head_dim))
        return out

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, dim] -> the same shape."""
        x = x + self.attention(rms_norm(x), cos, sin, mask)
        n = rms_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(n)) * self.up(n))
        return out


class Network(nn.Module):
    """ids int64 [B, T] (T a multiple of the window) -> logits [B, T, vocab]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.dim)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self._cache: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def tables(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """cos, sin [length, head_dim / 2] and the additive mask [length / window, 1, window, 2 window]."""
        if length not in self._cache:
            w, device = self.config.window, self.embed.weight.device
            i = torch.arange(w)[:, None]
            j = torch.arange(2 * w)[None, :]
            band = (j > i) & (j <= i + w)
            mask = torch.zeros(length // w, w, 2 * w)
            mask.masked_fill_(~band, -math.inf)
            mask[0, :, :w] = -math.inf
            cos, sin = rotary_tables(self.config, length)
            self._cache[length] = (cos.to(device), sin.to(device), mask[:, None].to(device))
        return self._cache[length]

    def blocks(self) -> list[Block]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, Block)]

    def hidden(self, ids: Tensor) -> Tensor:
        """The last layer's normalised output, [B, T, dim]."""
        cos, sin, mask = self.tables(ids.shape[1])
        x = rms_norm(self.embed(ids))
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        x, mask = x.to(dtype), mask.to(dtype)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return rms_norm(x)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, [B, T, vocab]."""
        return F.linear(self.hidden(ids), self.embed.weight)
