"""The same network with its outliers spread: other coordinates for the residual and for the values of each head.

A row of 8 bits has one scale, which its largest number sets. Trained networks have a few channels of the residual that
are hundreds of times as large as the others, and leave these few steps. But what reads the residual is x / rms(x),
which has no preferred coordinates: all that writes to it may be turned by an orthogonal matrix, and all that reads from
it turned back. An outlier is then spread over all channels. The same holds for what the shares of attention mix: the
values of a head, and the columns that read it. (Ashkboos et al. 2024: QuaRot.)

The matrix is Hartley's transform with pseudo-random signs, which spreads every channel alike and is the same
everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zllm.models import portable
from zllm.models.importing.canonical import Family, Layer, Linear, Shape

_SIGNS = 0x9E3779B1


def basis(n: int) -> Tensor:
    """An orthogonal matrix [n, n] whose elements are at most sqrt(2 / n) in size, in double precision."""
    i = torch.arange(n)
    cos, sin = portable.cos_and_sin((i[:, None] * i % n << 32) // n)
    signs = 1 - 2 * ((i + 1) * _SIGNS >> 16 & 1)
    return (cos + sin) * signs / torch.tensor(float(n), dtype=torch.float64).sqrt()


def reading(linear: Linear, turn: Tensor) -> Linear:
    """A map of x as one of ``turn`` x."""
    return Linear(portable.linear(linear.weight, turn, None).float(), linear.bias)


def writing(linear: Linear, turn: Tensor) -> Linear:
    """A map onto y as one onto ``turn`` y."""
    bias = None if linear.bias is None else portable.weighted(turn, linear.bias)
    return Linear(portable.linear(linear.weight.t(), turn, None).float().t().contiguous(), bias)


def _values(shape: Shape, layer: Layer) -> Layer:
    """The values of each head turned, and the columns that read what is mixed of them turned back."""
    n, first = shape.head_dim, len(layer.qkv.weight) - shape.kv_heads * shape.head_dim
    turn, weight, bias = basis(n), layer.qkv.weight.clone(), layer.qkv.bias
    bias = None if bias is None else bias.clone()
    for at in range(first, len(weight), n):
        part = writing(Linear(weight[at : at + n], None if bias is None else bias[at : at + n]), turn)
        weight[at : at + n] = part.weight
        if bias is not None and part.bias is not None:
            bias[at : at + n] = part.bias
    heads = layer.o.weight.reshape(-1, n)
    columns = portable.linear(heads, turn, None).float().reshape(layer.o.weight.shape)
    return replace(layer, qkv=Linear(weight, bias), o=Linear(columns, layer.o.bias))


class Rotated:
    """A family's network in these coordinates (see :class:`zllm.models.importing.canonical.Family`)."""

    def __init__(self, family: Family) -> None:
        self.family, self.shape = family, family.shape
        self.turn = basis(self.shape.dim)

    def embedding(self) -> Tensor:
        """[rows, dim]."""
        return self._rows(self.family.embedding())

    def positions(self) -> Tensor | None:
        """[positions, dim], if they are learned."""
        found = self.family.positions()
        return None if found is None else self._rows(found)

    def _rows(self, rows: Tensor) -> Tensor:
        blocks = torch.split(rows, 1 << 14)
        return torch.cat([portable.linear(block, self.turn, None).float() for block in blocks])

    def layer(self, index: int) -> Layer:
        """That layer's weights."""
        layer = _values(self.shape, self.family.layer(index))
        return replace(
            layer,
            qkv=reading(layer.qkv, self.turn),
            o=writing(layer.o, self.turn),
            gate_up=reading(layer.gate_up, self.turn),
            down=writing(layer.down, self.turn),
        )

    def head(self) -> Linear:
        """[rows, dim], of natural logits."""
        head = self.family.head()
        return Linear(self._rows(head.weight), head.bias)
