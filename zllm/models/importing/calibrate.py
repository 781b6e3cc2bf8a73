"""Turns one layer after the other into integers, by what a sample of text shows.

A sample runs through the float network, one layer's weights in memory at a time. What is chosen for a layer, by the
error that it leaves in the layer's output: how much of the keys' outliers goes to the queries; scales of values, keys
and the feed-forward's inner numbers; and how much each input row of a matrix would gain from 15 instead of 8 bits.

Moving outliers from one factor of a product to the other: Xiao et al. 2023 (SmoothQuant), here on rotary pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing import canonical
from zllm.models.importing.canonical import MATRICES, Family, Layer, Linear, Shape
from zllm.models.importing.simulate import TINY, Integers, Matrix, Observer, integer_shape
from zllm.models.portable import exp2, log2, power_below, share_power, sum_of, total
from zllm.models.quantise import HEADROOM, layer_numbers

MEASURED_ROWS = 4  # of the sample, on which choices are tried
SHARES = (0, 1, 2, 3, 4)  # quarters of the keys' outliers that go to the queries
MOST_MOVED = 32.0  # a row's scale has 15 bits: what is moved by more would round it too coarsely
_GAIN_BITS = 15
_MOST_LEVEL = 20  # a head that says nothing may say it quietly


@dataclass(frozen=True)
class Integral:
    """A layer in integers. ``gains``: (numbers, exponent) of queries and keys. ``errors``: by input row, the error (as
    a share of the residual's energy) that 8 bits leave and 15 do not; ``floor``: what 15 bits everywhere leave.
    """

    matrices: dict[str, Matrix]
    numbers: dict[str, int]
    gains: dict[str, tuple[np.ndarray, int]]
    errors: dict[str, float]
    floor: float


def _scaled(linear: Linear, start: int, end: int, by: Tensor | float) -> Linear:
    """Rows [start, end) of a map multiplied; ``by`` is a number or one for each row."""
    weight = linear.weight.clone()
    weight[start:end] *= by[:, None] if isinstance(by, Tensor) else by
    if linear.bias is None:
        return Linear(weight)
    bias = linear.bias.clone()
    bias[start:end] *= by
    return Linear(weight, bias)


def smoothed(shape: Shape, layer: Layer, seen: Observer, share: int) -> Layer:
    """The same layer with each pair of a key divided, and of its queries multiplied, by the same number. ``share``: in
    quarters."""
    if share == 0:
        return layer
    groups = seen.pairs["q"].reshape(shape.kv_heads, shape.heads // shape.kv_heads, -1).amax(1)
    keys = seen.pairs["k"]
    if layer.k_gain is not None:
        groups, keys = groups.amax(0, keepdim=True), keys.amax(0, keepdim=True)
    ratio = share_power(keys.clamp_min(1e-9) / groups.clamp_min(1e-9), share)
    ratio = ratio / exp2(total(log2(ratio))[..., None] / ratio.shape[-1])
    by = ratio.clamp(1 / MOST_MOVED, MOST_MOVED).repeat(1, 2)
    if layer.q_gain is not None and layer.k_gain is not None:
        return replace(layer, q_gain=layer.q_gain * by[0], k_gain=layer.k_gain / by[0])
    queries, keys_end = shape.heads * shape.head_dim, (shape.heads + shape.kv_heads) * shape.head_dim
    of_queries = by.repeat_interleave(shape.heads // shape.kv_heads, 0)
    qkv = _scaled(layer.qkv, 0, queries, of_queries.flatten())
    return replace(layer, qkv=_scaled(qkv, queries, keys_end, 1 / by.flatten()))


def _gain(values: Tensor) -> tuple[np.ndarray, int]:
    exponent = min(_GAIN_BITS, power_below(32767 / max(float(values.abs().max()), 1e-9)))
    if exponent < 0:
        raise ModelError(f"gains of queries and keys of {float(values.abs().max()):.0f} are too large: up to 32767")
    return (values.double() * 2.0**exponent).round().numpy(), exponent


def levelled(shape: Shape, layer: Layer, seen: Observer) -> Layer:
    """The same layer with values and small up projections multiplied by powers of two, which the matrix behind them
    divides by: the integers keep 12 fractional bits of them at most, and one size for the values of all heads.
    """
    values = torch.tensor([2.0 ** max(-_MOST_LEVEL, min(_MOST_LEVEL, 3 - power_below(v + TINY))) for v in seen.values])
    ups = 1.0 if shape.gelu else 2.0 ** max(0, 1 - power_below(seen.largest["up"]))
    seen.largest["v"] = max(float((seen.values * values).max()), TINY)
    of_queries = values.repeat_interleave(shape.heads // shape.kv_heads).repeat_interleave(shape.head_dim)
    seen.largest["up"] *= ups
    rows, by_row = len(layer.qkv.weight), values.repeat_interleave(shape.head_dim)
    return replace(
        layer,
        qkv=_scaled(layer.qkv, rows - shape.kv_heads * shape.head_dim, rows, by_row),
        o=Linear(layer.o.weight / of_queries, layer.o.bias),
        gate_up=_scaled(layer.gate_up, shape.ffn, len(layer.gate_up.weight), ups),
        down=Linear(layer.down.weight / ups, layer.down.bias),
    )


class Calibrator:
    """Runs a sample [B, T] of embedded text through the network, layer by layer, and a second one beside it that
    nothing is chosen by.
    """

    def __init__(self, family: Family, x: Tensor, held: Tensor) -> None:
        self.family, self.shape = family, family.shape
        self.x, self.held = x, held
        self.largest = float(x.abs().max())  # of the residual, after any layer

    @torch.no_grad()
    def layer(self, index: int) -> Integral:
        """The next layer in integers; the sample goes through it."""
        layer = self.family.layer(index)
        seen = Observer(self.shape)
        before = self.x[:MEASURED_ROWS]
        self.x = canonical.forward(self.shape, layer, self.x, seen)
        self.held = canonical.forward(self.shape, layer, self.held, canonical.Rounding(self.shape))
        self.largest = max(self.largest, float(self.x.abs().max()))
        if not bool(torch.isfinite(self.x).all()):
            raise ModelError(f"the numbers of layer {index} are too large")
        layer = levelled(self.shape, layer, seen)
        layer = smoothed(self.shape, layer, seen, self._share(layer, seen, before))
        return _Measured(self.shape, layer, seen, before, self.x[:MEASURED_ROWS]).result()

    def _share(self, layer: Layer, seen: Observer, x: Tensor) -> int:
        """Of the outliers that go to the queries: what leaves the least error in what attention adds."""
        exact = canonical.attention(self.shape, layer, x, canonical.Rounding(self.shape))
        step = Integers(self.shape, MATRICES, 0)
        # Multiplying a row changes its scale and none of its integers: the matrices are rounded once.
        coarse = replace(layer, qkv=Matrix.of(layer.qkv).linear(), o=Matrix.of(layer.o).linear())

        def error(share: int) -> float:
            tried = canonical.attention(self.shape, smoothed(self.shape, coarse, seen, share), x, step)
            return sum_of((tried - exact).square())

        return min(SHARES, key=error)


class _Measured:
    """A quantised layer, and the errors it leaves on ``before``, which is to become ``after``."""

    def __init__(self, shape: Shape, layer: Layer, seen: Observer, before: Tensor, after: Tensor) -> None:
        self.shape, self.layer, self.before, self.after = integer_shape(shape), layer, before, after
        self.numbers = layer_numbers(layer.temperature, seen.largest["v"], seen.largest["up"])
        self.matrices = {name: Matrix.of(getattr(layer, name)) for name in MATRICES}
        qkv, o, gate_up, down = (self.matrices[name].linear() for name in MATRICES)
        self.rounded = replace(layer, qkv=qkv, o=o, gate_up=gate_up, down=down)
        watch = _Keys(self.shape, MATRICES, self.numbers["up_frac"])
        self.everywhere = canonical.forward(self.shape, self.rounded, before, watch)
        # A key's scale has 15 bits: largest / 127 * 2^k_frac stays below 2^15, with headroom.
        self.numbers["k_frac"] = max(0, min(30, power_below(127 * 2.0**15 / (HEADROOM * watch.largest))))

    def _share(self, error: Tensor) -> float:
        """Of the residual's energy, token by token: norms see each token on its own."""
        shares = total(error.square()) / total(self.after.square()).clamp_min(1e-20)
        return sum_of(shares) / shares.numel()

    def result(self) -> Integral:
        """The layer, with what each narrow input would cost."""
        errors = {}
        for name in MATRICES:
            step = Integers(self.shape, [other for other in MATRICES if other != name], self.numbers["up_frac"])
            tried = canonical.forward(self.shape, self.rounded, self.before, step)
            errors[name] = self._share(tried - self.everywhere)
        gains = {}
        if self.layer.q_gain is not None and self.layer.k_gain is not None:
            gains = {"q_gain": _gain(self.layer.q_gain), "k_gain": _gain(self.layer.k_gain)}
        floor = self._share(self.everywhere - self.after)
        return Integral(self.matrices, self.numbers, gains, errors, floor)


class _Keys(Integers):
    """Remembers the largest element of a key."""

    largest = 1e-9

    def head(self, name: str, x: Tensor) -> Tensor:
        """Rounds and remembers."""
        if name == "k":
            self.largest = max(self.largest, float(x.abs().max()))
        return super().head(name, x)
