"""Floating point that gives the same bits on every machine, so that a checkpoint gives the same model file everywhere.

What differs between machines is the order of sums (with the width of vectors, the number of threads, the library that
multiplies matrices, fused multiply-adds) and the last bit of exp, log, sin and pow. So here

- sums are of integers: operands are first rounded to so many bits below the row's largest, with a power of two as the
  unit, that no sum of products reaches 2^53. Then every partial sum is exact in double precision, in any order.
- functions are polynomials, by single additions and multiplications of doubles, which IEEE 754 defines to the bit, as
  it does divisions and square roots. Powers of two are made of their bits.

Rounding to 19 bits and more (23 for 96 columns) is next to nothing beside the 8 bits that is decided about.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
_BITS = 53  # of a double's integers
_FARTHEST = 900  # exponents, of those a double has
_BLOCK = 1 << 23  # elements of a matrix that are in memory in double precision at a time
_CHUNK = 1 << 16  # elements that a function is computed of at a time, in the cache
_TURN = 2 * 3.141592653589793 / 2**32  # radians of a phase's unit


def power_below(x: float) -> int:
    """The largest n with 2^n <= x."""
    return math.frexp(x)[1] - 1


def power_above(x: float) -> int:
    """The smallest n with x <= 2^n."""
    mantissa, exponent = math.frexp(x)
    return exponent - (mantissa == 0.5)


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent, exponents -1022 to 1023."""
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


def grid(x: Tensor, bits: int, dim: int = -1) -> tuple[Tensor, Tensor]:
    """(integers below 2^bits in size, unit): ``x`` rounded, with a unit for each row along ``dim``."""
    x = x.double()
    largest = torch.maximum(x.amax(dim, keepdim=True), -x.amin(dim, keepdim=True))
    exponent = torch.frexp(largest)[1].clamp(-_FARTHEST, _FARTHEST)
    return (x * power_of_two(bits - exponent)).round_(), power_of_two(exponent - bits)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a [..., n, k] times b [..., m, k], turned: [..., n, m]."""
    bits = (_BITS - power_above(a.shape[-1])) // 2
    (left, left_unit), (right, right_unit) = grid(a, bits), grid(b, bits)
    return torch.matmul(left, right.transpose(-1, -2)).mul_(left_unit).mul_(right_unit.transpose(-1, -2))


def _blocks(weight: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    return torch.split(weight, max(1, _BLOCK // weight.shape[1 - dim]), dim)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """weight [rows, cols] times x [..., cols], plus bias."""
    flat = x.reshape(-1, x.shape[-1])
    out = torch.cat([product(flat, block) for block in _blocks(weight)], 1)
    if bias is not None:
        out = out + bias.double()
    return out.reshape(*x.shape[:-1], -1)


def total(x: Tensor, dim: int = -1) -> Tensor:
    """The sum along ``dim``."""
    numbers, unit = grid(x, _BITS - 1 - power_above(max(1, x.shape[dim])), dim)
    return numbers.sum(dim) * unit.squeeze(dim)


def sum_of(x: Tensor) -> float:
    """The sum of all elements."""
    return float(total(x.reshape(1, -1)))


def weighted(weight: Tensor, vector: Tensor) -> Tensor:
    """weight [rows, cols] times a vector, with all bits that a double has."""
    return torch.cat([total(block.double() * vector.double()) for block in _blocks(weight)])


def less_mean(weight: Tensor, dim: int) -> Tensor:
    """``weight`` without its mean along ``dim``."""
    if dim == 0:
        means = [total(block.double(), 0) / len(weight) for block in _blocks(weight, 1)]
        return (weight.double() - torch.cat(means)).float()
    blocks = (block.double() for block in _blocks(weight))
    return torch.cat([(block - total(block)[:, None] / weight.shape[1]).float() for block in blocks])


def _chunked(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.double()
    pieces = [function(piece) for piece in torch.split(x.reshape(-1), _CHUNK)]
    return torch.cat(pieces).reshape(x.shape)


def _polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """By falling powers."""
    out = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        out.mul_(x).add_(coefficient)
    return out


_EXP = [1 / math.factorial(n) for n in range(8, -1, -1)]


def _exp2(x: Tensor) -> Tensor:
    x = x.clamp(-_FARTHEST, _FARTHEST)
    whole = x.round()
    return _polynomial((x - whole).mul_(LN2), _EXP).mul_(power_of_two(whole))


def exp2(x: Tensor) -> Tensor:
    """2^x, within 2^-31 of it."""
    return _chunked(_exp2, x)


def _log2(x: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(x)
    small = mantissa < 0.7071067811865476
    mantissa = torch.where(small, mantissa * 2, mantissa)
    z = (mantissa - 1) / (mantissa + 1)
    series = _polynomial(z * z, [1 / n for n in range(15, 0, -2)])
    return (exponent - small.to(torch.int32)).double() + z * series * (2 * LOG2E)


def log2(x: Tensor) -> Tensor:
    """The logarithm of positive numbers."""
    return _chunked(_log2, x)


def _sigmoid(x: Tensor) -> Tensor:
    e = _exp2(-x.abs() * LOG2E)
    return torch.where(x < 0, e, torch.ones_like(e)) / (e + 1)


def silu(x: Tensor) -> Tensor:
    """x times its sigmoid."""
    return _chunked(lambda part: part * _sigmoid(part), x)


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * _sigmoid((x + x * x * x * 0.044715) * 1.5957691216057308)  # 2 sqrt(2 / pi)


def _gelu_exact(x: Tensor) -> Tensor:
    # Abramowitz and Stegun 1964, 7.1.26: erf within 1.5e-7.
    z = x.abs() * 0.7071067811865476
    t = 1 / (z * 0.3275911 + 1)
    series = _polynomial(t, [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592]) * t
    tail = series * _exp2(-z * z * LOG2E) * 0.5
    return x * torch.where(x < 0, tail, 1 - tail)


def gelu(x: Tensor, form: str) -> Tensor:
    """GELU in its form ``tanh``, or else the exact one."""
    return _chunked(_gelu_tanh if form == "tanh" else _gelu_exact, x)


_SIN = [-1 / math.factorial(11), 1 / math.factorial(9), -1 / math.factorial(7), 1 / 120, -1 / 6, 1.0]
_COS = [1 / math.factorial(12), -1 / math.factorial(10), 1 / math.factorial(8), -1 / 720, 1 / 24, -0.5, 1.0]


def cos_and_sin(phase: Tensor) -> tuple[Tensor, Tensor]:
    """Of angles in 2^-32 turns (int64)."""
    phase = phase & (2**32 - 1)
    quarter = (phase + (1 << 29)) >> 30
    x = (phase - (quarter << 30)).double() * _TURN
    sin, cos = x * _polynomial(x * x, _SIN), _polynomial(x * x, _COS)
    odd = (quarter & 1).bool()
    cos, sin = torch.where(odd, sin, cos), torch.where(odd, cos, sin)
    cos_sign, sin_sign = ((quarter + 1) & 2), (quarter & 2)
    return torch.where(cos_sign > 0, -cos, cos), torch.where(sin_sign > 0, -sin, sin)


def share_power(x: Tensor, quarters: int) -> Tensor:
    """x^(quarters / 4), 0 to 4 quarters, of numbers that are not negative."""
    half = x.sqrt()
    return {0: torch.ones_like(x), 1: half.sqrt(), 2: half, 3: half * half.sqrt(), 4: x}[quarters]


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """Bits of each target by its row of ``logits`` [rows, n], which are in log2 units."""
    largest = logits.amax(-1, keepdim=True)
    sums = total(exp2(logits - largest))
    return log2(sums) + (largest - logits.gather(-1, targets[:, None])).squeeze(-1)
