"""The rounding of the integer network in floating point: what calibration measures, layer by layer.

It rounds where ``docs/arithmetic.md`` rounds coarsely: inputs of matrices and heads to 8 (or 15) bits, weights to int8,
gates to 10 fractional bits. What that page keeps with 14 bits and more is left as it is. So it is near the integers,
and never them: what a model loses in the end is measured with the C core.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zllm.models import portable
from zllm.models.importing.canonical import Linear, Rounding, Shape
from zllm.models.quantise import quantise_matrix

NARROW, WIDE = 127, 16256
TINY = 1e-30


@dataclass(frozen=True)
class Matrix:
    """A matrix as a model file has it; its bias is still a real number."""

    q: np.ndarray
    scale: np.ndarray
    exponent: int
    bias: Tensor | None

    @classmethod
    def of(cls, linear: Linear, gain: float = 1.0) -> Matrix:
        """``gain`` multiplies weights and bias."""
        q, scale, exponent = quantise_matrix(linear.weight, gain)
        return cls(q, scale, exponent, None if linear.bias is None else linear.bias.double() * gain)

    def linear(self) -> Linear:
        """What it stands for."""
        scale = torch.from_numpy(self.scale.astype(np.float32)) * 2.0**-self.exponent
        bias = None if self.bias is None else self.bias.float()
        return Linear(torch.from_numpy(self.q).float() * scale[:, None], bias)


def rounded(x: Tensor, limit: int) -> Tensor:
    """Each row rounded to integers of that size at most, times its scale."""
    unit = x.abs().amax(-1, keepdim=True).clamp_min(TINY) / limit
    return (x / unit).round() * unit


class Integers(Rounding):
    """Rounds as the integer network does with these ``wide`` inputs. Nothing in it has an epsilon."""

    def __init__(self, shape: Shape, wide: Collection[str], up_frac: int) -> None:
        super().__init__(shape)
        self.wide, self.up_frac = wide, up_frac

    def row(self, name: str, x: Tensor) -> Tensor:
        """As the rounding network's."""
        q = rounded(x, WIDE if name in self.wide else NARROW)
        if name in ("o", "down"):
            return q
        return q / (portable.total(q * q)[..., None] / q.shape[-1]).clamp_min(TINY).sqrt()

    def head(self, name: str, x: Tensor) -> Tensor:
        """As the rounding network's."""
        return rounded(x, NARROW)

    def inner(self, name: str, x: Tensor) -> Tensor:
        """As the rounding network's."""
        unit = 2.0 ** -(10 if name == "gate" else self.up_frac)
        return (x / unit).round().clamp(-32767, 32767) * unit


class Observer(Rounding):
    """The float network, remembering the largest sizes: of ``v`` and ``up``, of each pair [heads, half] of ``q`` and
    ``k``, and of each number [ffn] of ``up`` and of what ``down`` reads.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.pairs: dict[str, Tensor] = {}
        self.largest = {"v": TINY, "up": TINY, "k": TINY}
        self.values = torch.empty(0)  # the largest of each head of ``v``
        self.each: dict[str, Tensor] = {}
        self.read = torch.empty(0)  # what ``down`` reads

    def row(self, name: str, x: Tensor) -> Tensor:
        """Remembers."""
        if name == "down":
            self.each[name], self.read = x.abs().amax((0, 1)), x
        return super().row(name, x)

    def head(self, name: str, x: Tensor) -> Tensor:
        """Remembers."""
        if name == "v":
            self.values = x.abs().amax((0, 1, 3))
        else:
            a, b = x.chunk(2, -1)
            self.pairs[name] = (a * a + b * b).sqrt().amax((0, 1))
        if name != "q":
            self.largest[name] = max(float(x.abs().max()), TINY)
        return x

    def inner(self, name: str, x: Tensor) -> Tensor:
        """Remembers."""
        self.each[name] = x.abs().amax((0, 1))
        self.largest[name] = max(float(self.each[name].max()), TINY)
        return x


def integer_shape(shape: Shape) -> Shape:
    """The integers know one form of GELU."""
    return replace(shape, gelu="tanh") if shape.gelu else shape
