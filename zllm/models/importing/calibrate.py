"""Turns one layer after the other into integers, by what a sample of text shows.

A sample runs through the float network, one layer's weights in memory at a time. What is chosen for a layer, by the
error that it leaves in the layer's output: how much of the keys' outliers goes to the queries, and of those of the
feed-forward's inner numbers to the weights behind them; scales of values, keys and inner numbers; and how much each
input row of a matrix would gain from 15 instead of 8 bits.

Moving outliers from one factor of a product to the other: Xiao et al. 2023 (SmoothQuant), here on rotary pairs and on
the rows of ``up`` with the columns of ``down``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing import canonical
from zllm.models.importing.canonical import MATRICES, Family, Layer, Linear, Shape
from zllm.models.importing.simulate import NARROW, TINY, Integers, Matrix, Observer, integer_shape, rounded
from zllm.models.portable import exp2, log2, power_below, share_power, sum_of, total
from zllm.models.quantise import HEADROOM, layer_numbers

MEASURED_ROWS = 3  # of the sample, on which errors are measured
TRIED_ROWS = 2  # on which choices are tried
SHARES = (0, 1, 2, 3, 4)  # quarters of the outliers that go to the other factor
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
    by = _evenly(ratio).repeat(1, 2)
    if layer.q_gain is not None and layer.k_gain is not None:
        return replace(layer, q_gain=layer.q_gain * by[0], k_gain=layer.k_gain / by[0])
    queries, keys_end = shape.heads * shape.head_dim, (shape.heads + shape.kv_heads) * shape.head_dim
    of_queries = by.repeat_interleave(shape.heads // shape.kv_heads, 0)
    qkv = _scaled(layer.qkv, 0, queries, of_queries.flatten())
    return replace(layer, qkv=_scaled(qkv, queries, keys_end, 1 / by.flatten()))


def _evenly(ratio: Tensor) -> Tensor:
    """Factors along the last dimension with a geometric mean of 1 before those that are too far from it are limited."""
    return (ratio / exp2(total(log2(ratio))[..., None] / ratio.shape[-1])).clamp(1 / MOST_MOVED, MOST_MOVED)


def factors(layer: Layer, seen: Observer, share: int) -> Tensor:
    """What each number [ffn] that ``down`` reads is to be divided by. ``share``: in quarters; of 0, nothing."""
    if share == 0:
        return torch.ones(layer.down.weight.shape[1])
    columns = layer.down.weight.abs().amax(0).double().clamp_min(1e-9)
    rows = seen.each["down"].double().clamp_min(1e-9)
    return _evenly(share_power(rows, share) / share_power(columns, 4 - share)).float()


def spread(shape: Shape, layer: Layer, seen: Observer, by: Tensor) -> Layer:
    """The same layer with what ``up`` gives divided, and the columns that read it multiplied, by these numbers."""
    seen.largest["up"] = max(float((seen.each["up"] / by).max()), TINY)
    gate_up = _scaled(layer.gate_up, shape.ffn, 2 * shape.ffn, 1 / by)
    return replace(layer, gate_up=gate_up, down=Linear(layer.down.weight * by, layer.down.bias))


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
        seen, before = Observer(self.shape), self.x
        between = before + canonical.attention(self.shape, layer, before, seen)
        read = before if self.shape.parallel else between
        self.x = between + canonical.feed_forward(self.shape, layer, read, seen)
        self.held = canonical.forward(self.shape, layer, self.held, canonical.Rounding(self.shape))
        self.largest = max(self.largest, float(self.x.abs().max()))
        if not bool(torch.isfinite(self.x).all()):
            raise ModelError(f"the numbers of layer {index} are too large")
        if not self.shape.gelu:  # only a product can be divided by one of its factors
            layer = spread(self.shape, layer, seen, self._inner(layer, seen, (self.x - between)[:TRIED_ROWS]))
        layer = levelled(self.shape, layer, seen)
        tried = before[:TRIED_ROWS], (between - before)[:TRIED_ROWS]
        layer = smoothed(self.shape, layer, seen, self._share(layer, seen, *tried))
        return _Measured(self.shape, layer, seen, before[:MEASURED_ROWS], self.x[:MEASURED_ROWS]).result()

    def _inner(self, layer: Layer, seen: Observer, exact: Tensor) -> Tensor:
        """The factors of the feed-forward's inner numbers that leave the least error in what it adds, which is
        ``exact``; of each token as a share of that."""
        read, size = seen.read[:TRIED_ROWS], total(exact.square()).clamp_min(TINY)
        every = [factors(layer, seen, share) for share in SHARES]

        def error(by: Tensor) -> float:
            down = Matrix.of(Linear(layer.down.weight * by, layer.down.bias)).linear()
            return sum_of(total((down(rounded(read / by, NARROW)) - exact).square()) / size)

        return min(every, key=error)

    def _share(self, layer: Layer, seen: Observer, x: Tensor, exact: Tensor) -> int:
        """Of the outliers that go to the queries: what leaves the least error in what attention adds to x, which is
        ``exact``."""
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
        self.attended = canonical.attention(self.shape, self.rounded, before, watch)
        self.read = before if shape.parallel else before + self.attended
        self.added = canonical.feed_forward(self.shape, self.rounded, self.read, watch)
        # A key's scale has 15 bits: largest / 127 * 2^k_frac stays below 2^15, with headroom.
        self.numbers["k_frac"] = max(0, min(30, power_below(127 * 2.0**15 / (HEADROOM * watch.largest))))

    def _share(self, error: Tensor) -> float:
        """Of the residual's energy, token by token: norms see each token on its own."""
        shares = total(error.square()) / total(self.after.square()).clamp_min(1e-20)
        return sum_of(shares) / shares.numel()

    def _tried(self, name: str) -> Tensor:
        """The error in what attention, or the feed-forward, adds, if the input of that matrix alone is narrow."""
        step = Integers(self.shape, [other for other in MATRICES if other != name], self.numbers["up_frac"])
        if name in ("qkv", "o"):
            return canonical.attention(self.shape, self.rounded, self.before, step) - self.attended
        return canonical.feed_forward(self.shape, self.rounded, self.read, step) - self.added

    def result(self) -> Integral:
        """The layer, with what each narrow input would cost."""
        errors = {name: self._share(self._tried(name)) for name in MATRICES}
        gains = {}
        if self.layer.q_gain is not None and self.layer.k_gain is not None:
            gains = {"q_gain": _gain(self.layer.q_gain), "k_gain": _gain(self.layer.k_gain)}
        floor = self._share(self.before + self.attended + self.added - self.after)
        return Integral(self.matrices, self.numbers, gains, errors, floor)


class _Keys(Integers):
    """Remembers the largest element of a key."""

    largest = 1e-9

    def head(self, name: str, x: Tensor) -> Tensor:
        """Rounds and remembers."""
        if name == "k":
            self.largest = max(self.largest, float(x.abs().max()))
        return super().head(name, x)
