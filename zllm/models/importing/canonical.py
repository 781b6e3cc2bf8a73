"""The one float network that every family is turned into, layer by layer.

Gains of norms are folded into the matrix behind them, LayerNorm's biases into that matrix' bias, and LayerNorm's mean
is removed by centring all that writes to the residual; so every norm is x / rms(x). What is left are the variants of
``docs/arithmetic.md``. Two networks run by the same code: the float one, and, with a ``Rounding`` that rounds, one that
rounds where the integers do. Both give the same bits on every machine (``portable.py``).

Sources: Vaswani et al. 2017 (the transformer); Su et al. 2021 (rotary positions); Zhang and Sennrich 2019 (RMSNorm);
Henry et al. 2020 (normalised queries and keys); Hendrycks and Gimpel 2016 (GELU); Shazeer 2020 (SwiGLU).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zllm.models import portable

PLAIN, GAINED = 1, 2  # of ``Shape.qk``
MATRICES = ("qkv", "o", "gate_up", "down")
_NEVER = -1e9  # the score of what comes later
_HEAD_ROWS = 256  # positions whose logits are in memory at a time


@dataclass(frozen=True)
class Shape:
    """What a family's config says. ``rope``: of each pair, 2^-32 turns a position; 0 for pairs that are not rotated."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rope: tuple[int, ...]
    rope_theta: float
    eps: float
    longest: int  # tokens that the network can look at
    qk: int = PLAIN
    gelu: str = ""  # "tanh" or "none" (the exact form); empty: SwiGLU
    parallel: bool = False
    positions: int = 0


@dataclass(frozen=True)
class Linear:
    """x -> weight x + bias. weight [rows, cols]."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The mapped rows."""
        return portable.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Layer:
    """One layer's weights. ``temperature`` multiplies scores; gains [head_dim] are of normalised queries and keys."""

    qkv: Linear
    o: Linear
    gate_up: Linear
    down: Linear
    temperature: float
    q_gain: Tensor | None = None
    k_gain: Tensor | None = None


class Family(Protocol):
    """A checkpoint, read as the canonical network; nothing is kept in memory between calls."""

    shape: Shape

    def embedding(self) -> Tensor:
        """[rows, dim]."""

    def positions(self) -> Tensor | None:
        """[positions, dim], if they are learned."""

    def layer(self, index: int) -> Layer:
        """That layer's weights."""

    def head(self) -> Linear:
        """[rows, dim], of natural logits."""


def fold(weight: Tensor, bias: Tensor | None, gain: Tensor, shift: Tensor | None = None) -> Linear:
    """A map that follows a norm with this gain and shift, as one that follows a bare norm."""
    if shift is not None:
        moved = portable.weighted(weight, shift)
        bias = moved if bias is None else bias.double() + moved
    return Linear(weight * gain, bias)


def centre(linear: Linear) -> Linear:
    """A map onto the residual without what it adds to the residual's mean, which LayerNorm does not see."""
    bias = linear.bias
    if bias is not None:
        bias = bias.double() - portable.total(bias.double()) / len(bias)
    return Linear(portable.less_mean(linear.weight, 0), bias)


def stack(*parts: Linear) -> Linear:
    """Maps of the same input as one; a bias that only some have is 0 for the others."""
    bias = None
    if any(p.bias is not None for p in parts):
        bias = torch.cat([torch.zeros(len(p.weight)) if p.bias is None else p.bias for p in parts])
    return Linear(torch.cat([p.weight for p in parts]), bias)


class Rounding:
    """Where integers are rounded: this one rounds nothing, and is the float network."""

    def __init__(self, shape: Shape) -> None:
        self.eps = shape.eps

    def row(self, name: str, x: Tensor) -> Tensor:
        """x, the input of the matrix ``name``; those of ``qkv``, ``gate_up`` and ``head`` become normalised."""
        return x if name in ("o", "down") else normalise(x, self.eps)

    def head(self, name: str, x: Tensor) -> Tensor:
        """Heads of ``q``, ``k`` or ``v`` [B, T, heads, head_dim], the former two rotated."""
        return x

    def inner(self, name: str, x: Tensor) -> Tensor:
        """What comes out of ``gate_up``: ``gate`` or ``up``."""
        return x


def normalise(x: Tensor, eps: float) -> Tensor:
    """x / rms(x)."""
    return x / (portable.total(x * x)[..., None] / x.shape[-1] + eps).sqrt()


def rotate(x: Tensor, rope: tuple[int, ...]) -> Tensor:
    """x [B, T, heads, head_dim]: element i turns against element head_dim / 2 + i."""
    c, s = portable.cos_and_sin(torch.arange(x.shape[1])[:, None] * torch.tensor(rope))
    c, s = c[None, :, None], s[None, :, None]
    a, b = x.chunk(2, -1)
    return torch.cat((a * c - b * s, b * c + a * s), -1)


def queries_and_keys(shape: Shape, layer: Layer, mapped: Tensor) -> tuple[Tensor, Tensor]:
    """Of what ``qkv`` gives, before they are rotated."""
    heads = mapped[..., : (shape.heads + shape.kv_heads) * shape.head_dim].reshape(
        *mapped.shape[:2], -1, shape.head_dim
    )
    q, k = heads[:, :, : shape.heads], heads[:, :, shape.heads :]
    if layer.q_gain is not None and layer.k_gain is not None:
        q, k = normalise(q, shape.eps) * layer.q_gain, normalise(k, shape.eps) * layer.k_gain
    return q, k


def attention(shape: Shape, layer: Layer, x: Tensor, step: Rounding) -> Tensor:
    """x [B, T, dim] -> what attention adds to it."""
    mapped = layer.qkv(step.row("qkv", x))
    q, k = queries_and_keys(shape, layer, mapped)
    q, k = step.head("q", rotate(q, shape.rope)), step.head("k", rotate(k, shape.rope))
    v = mapped[..., -shape.kv_heads * shape.head_dim :].reshape(*x.shape[:2], shape.kv_heads, shape.head_dim)
    v = step.head("v", v)
    group = shape.heads // shape.kv_heads
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return layer.o(step.row("o", _mixed(q, k, v, layer.temperature).transpose(1, 2).flatten(2)))


def _mixed(q: Tensor, k: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Values [B, heads, T, head_dim], each position's mixed of those up to it by a softmax."""
    # Row by row: scores take more memory than all else.
    return torch.stack([_mixed_row(*row, temperature) for row in zip(q, k, v, strict=True)])


def _mixed_row(q: Tensor, k: Tensor, v: Tensor, temperature: float) -> Tensor:
    scores = portable.product(q, k) * (temperature * portable.LOG2E)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, _NEVER)
    shares = portable.exp2(scores - scores.amax(-1, keepdim=True))  # of what comes later, next to nothing
    return portable.product(shares, v.transpose(-1, -2)) / portable.total(shares)[..., None]


def feed_forward(shape: Shape, layer: Layer, x: Tensor, step: Rounding) -> Tensor:
    """x [B, T, dim] -> what the feed-forward adds."""
    both = layer.gate_up(step.row("gate_up", x))
    gate = step.inner("gate", both[..., : shape.ffn])
    if shape.gelu:
        return layer.down(step.row("down", portable.gelu(gate, shape.gelu)))
    return layer.down(step.row("down", portable.silu(gate) * step.inner("up", both[..., shape.ffn :])))


def forward(shape: Shape, layer: Layer, x: Tensor, step: Rounding) -> Tensor:
    """One layer: the residual x [B, T, dim] after it."""
    y = x + attention(shape, layer, x, step)
    return y + feed_forward(shape, layer, x if shape.parallel else y, step)


def embed(embedding: Tensor, positions: Tensor | None, ids: Tensor) -> Tensor:
    """ids [B, T] -> the residual [B, T, dim] before the first layer."""
    x = F.embedding(ids, embedding).double()
    return x if positions is None else x + positions[: ids.shape[1]]


def bits(head: Linear, x: Tensor, targets: Tensor, step: Rounding) -> Tensor:
    """Bits of each target [B, T] after the residual x, by a softmax over the head's rows."""
    out = []
    rows, flat = step.row("head", x).flatten(0, 1), targets.flatten()
    for at in range(0, len(flat), _HEAD_ROWS):
        logits = head(rows[at : at + _HEAD_ROWS]) * portable.LOG2E
        out.append(portable.surprise(logits, flat[at : at + _HEAD_ROWS]))
    return torch.cat(out).reshape(targets.shape)


@torch.no_grad()
def logits(family: Family, ids: Tensor) -> Tensor:
    """Natural logits [B, T, rows] of ids [B, T]: the whole float network."""
    step = Rounding(family.shape)
    x = embed(family.embedding(), family.positions(), ids)
    for index in range(family.shape.layers):
        x = forward(family.shape, family.layer(index), x, step)
    return family.head()(step.row("head", x))
