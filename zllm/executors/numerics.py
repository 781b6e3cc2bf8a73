"""The functions of ``docs/arithmetic.md``, section 2, on tensors of integers: the same integers as the C core's.

Why they are exact: torch adds, multiplies, shifts and compares integers in 32 or 64 bits as C does, on every device, as
long as nothing overflows, which is argued where it is not plain. ``>>`` of a negative number rounds down, and ``//`` is
only used with a positive divisor and no negative dividend. The one floating-point function, ``frexp`` in 64 bits, takes
an exponent apart and rounds nothing below 2^53. ``tests/executors`` compares each with C's.

Rows are the last dimension. What there is one of for each row keeps that dimension, of size 1.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

from zllm import _native as native

LIMIT = (1 << 30) - 1
"""Of the residual and of every mapped value."""
RESIDUAL_FRAC, GATE_FRAC, SCORE_FRAC, GELU_FRAC = 12, 10, 16, 25
BLEND_FRAC = 13
ONE = 1 << BLEND_FRAC
_BLEND_LIMIT = (1 << 27) - 1
_SINES = 1024


class Scale(NamedTuple):
    """mantissa * 2^-exponent, the mantissa from 2^15 to 2^16 - 1. That of a row of zeros is any: its products are 0."""

    mantissa: Tensor
    exponent: Tensor


def bits(x: Tensor) -> Tensor:
    """The length in binary of numbers from 0 to 2^53 - 1, int32: of a double, which holds them exactly, the exponent
    that makes its mantissa at least a half; 0 for 0."""
    return torch.frexp(x.to(torch.float64)).exponent


class Tables:
    """Numbers that depend on small arguments only, computed once by the functions below."""

    def __init__(self, device: torch.device) -> None:
        roots = [0] * 64 + [16 * isqrt((1 << 61) // (2 * i + 1)) for i in range(64, 256)]
        self.unit = torch.tensor(127 << 54, device=device)
        """What the largest numbers of rows divide."""
        self.one = torch.tensor(1 << 38, device=device)
        """What sums of exponentials divide."""
        self.rsqrt = torch.tensor(roots, dtype=torch.int64, device=device)
        sines = [native.sincos(i << 22 & 0xFFFFFFFF)[0] for i in range(_SINES + 1)]  # where nothing is interpolated
        self.sine = torch.tensor(sines, dtype=torch.int64, device=device)
        fraction = torch.arange(1 << 15, dtype=torch.int32)
        self.fraction = exp2_fraction(fraction).to(device)
        gates = torch.arange(-32767, 32768, dtype=torch.int64)
        swish = half_up(gates * sigmoid(gates))
        self.swish = swish.to(torch.int32).to(device)
        self.gelu = gelu(gates).to(torch.int32).to(device)


def rsqrt(x: Tensor, tables: Tables) -> Scale:
    """(r, e) with r * 2^-e about 1 / sqrt(x), for x from 2^18 to 2^48; without the specification's limit of r.

    k is at most 14, so that x * 2^k rounded down is x * 2^14 >> (14 - k). The specification's 3 * 2^62 - d, d about
    2^62, may pass 2^63; as 3 * 2^62 is a multiple of 2^32, its upper half is 3 * 2^30 + (-d >> 32), which stays in 64
    signed bits.
    """
    k = (32 - bits(x)) & -2
    y = (x << 14) >> (14 - k)
    r = tables.rsqrt[y >> 24]
    for _ in range(2):
        d = y * ((r * r) >> 30)
        r = (r * ((-d >> 32) + (3 << 30))) >> 31
    return Scale(r, 46 - (k >> 1))


def exp2_fraction(f: Tensor) -> Tensor:
    """2^-(f / 2^15) in 2^-15, f below 2^15: 31 bits are enough."""
    p = 7575 - ((f * 1298) >> 15)
    p = 22662 - ((f * p) >> 15)
    return 32767 - ((f * p) >> 15)


def exp2(d: Tensor, tables: Tables) -> Tensor:
    """2^-(d / 2^16) in 2^-15, int32; d from 0 to 2^31 - 1, int32. (p has 15 bits: shifts from 15 on give 0.)"""
    return tables.fraction[(d & 0xFFFF) >> 1] >> (d >> 16).clamp(max=31)


def weight(d: Tensor, tables: Tables) -> Tensor:
    """The coder's weight, 1 to 2^26, int32; arguments as of :func:`exp2`."""
    return ((tables.fraction[(d & 0xFFFF) >> 1] << 11) >> (d >> 16).clamp(max=31)) + 1


def half_up(product: Tensor) -> Tensor:
    """product / 2^15, rounded."""
    return (product + 16384) >> 15


def sigmoid(x: Tensor) -> Tensor:
    """Of x with 10 fractional bits, int64, with 15."""
    z = half_up(4 * x.abs().clamp(max=8191) * 23637)
    t = 32767 - half_up(z * (22710 + half_up(z * (half_up(z * 1514) - 7793))))
    for _ in range(4):
        t = half_up(t * t)
    c = 2 * t - 32767
    w = torch.full_like(x, -110)
    for k in (321, -798, 2407, -7283, 21845):
        w = k + half_up(c * w)
    return torch.where(x < 0, 32768 - w, w)


def gelu(g: Tensor) -> Tensor:
    """Of g, at most 32767 in size, with 10 fractional bits, int64, with 25."""
    c = (g * g) >> 10
    f = 1673285 + ((c * 74821) >> 10)
    return g * sigmoid((g * f) >> 20)


def sincos(phase: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """Sine and cosine in 2^-15, int32, of int64 phases; bits from 32 on do not count."""
    return _sine(phase, tables), _sine(phase + (1 << 30), tables)


def _sine(phase: Tensor, tables: Tables) -> Tensor:
    i, f = (phase >> 22) & 1023, (phase >> 12) & 1023
    return ((tables.sine[i] * (1024 - f) + tables.sine[i + 1] * f + 512) >> 10).to(torch.int32)


class Row(NamedTuple):
    """Quantised rows: ``high`` is int8; a wide row is 128 * high + low, ``low`` int8 as well."""

    high: Tensor
    low: Tensor | None
    scale: Scale


def quantise(x: Tensor, frac: int | Tensor | None, tables: Tables, wide: bool = False) -> Row:
    """Rows of int32, |x| <= 2^30; ``frac``: fractional bits of x, None to normalise."""
    largest = x.abs().amax(-1, keepdim=True).to(torch.int64)
    q, shift, top = divided(x, largest, 47 if wide else 54, tables)
    if frac is None:
        scale = norm_scale((q * q).sum(-1, keepdim=True), x.shape[-1], tables)
    else:
        scale = _plain_scale(top, shift, frac + 7 if wide else frac)
    if not wide:
        return Row(q.to(torch.int8), None, scale)
    high = (q + 64) >> 7
    return Row(high.to(torch.int8), (q - (high << 7)).to(torch.int8), scale)


def divided(x: Tensor, largest: Tensor, drop: int, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
    """127 * 2^(54 - drop) * x / a, rounded, int64, a being ``largest``; the shift s that gives a 31 bits, and a * 2^s.

    As c <= 127 * 2^54 / (a * 2^s), c * 2^s * |x| <= 127 * 2^54 for every x of the row.
    """
    some = largest.clamp(min=1)  # of rows of zeros q is 0 whatever c is
    shift = 31 - bits(some)
    top = some << shift
    factor = torch.floor_divide(tables.unit, top) << shift
    return (x * factor + (1 << (drop - 1))) >> drop, shift, top


def norm_scale(squares: Tensor, n: int, tables: Tables) -> Scale:
    """1 over the root mean square of n numbers with that sum of squares. 2^20 times a mean of at most 2^28 is below
    2^49, and 2^20 times a sum of at most 2^42 below 2^63. One of the numbers is at least 127, and n at most 2^14, so
    that only rows of zeros have less than 2^18."""
    r, e = rsqrt(((squares << 20) // n).clamp(min=1 << 18), tables)
    return Scale((r >> 15).clamp(max=65535), e - 25)


def _plain_scale(top: Tensor, shift: Tensor, frac: int | Tensor) -> Scale:
    t = top // 127
    drop = (t >> 24) + 8  # t is below 2^25
    return Scale(t >> drop, shift - drop + frac)


def multiply(a: Scale, b: Scale) -> Scale:
    """Product of two scales."""
    m = (a.mantissa * b.mantissa) >> 15  # below 2^17
    over = m >> 16
    return Scale(m >> over, a.exponent + b.exponent - 15 - over)


def descale(acc: Tensor, factors: Tensor, mantissa: Tensor, shift: Tensor) -> Tensor:
    """Sums of products to fixed point, int32: (acc * (factors * mantissa >> 15) + 2^(s - 1)) >> s, s being ``shift``
    within [1, 62], limited to 2^30 - 1. |acc| < 2^36, so no product passes 2^52.

    The specification does not limit where s + 14 >= bits(cols * 127^2): there |acc| < 2^(s + 14), its multiplier is at
    most 32767 * 65535 >> 15 = 65532, and the result at most 65532 * 2^14, so that the limit changes nothing.
    Half of 2^s is added after s - 1 places are gone, which gives the same.
    """
    value = (acc * ((factors * mantissa) >> 15)) >> (shift - 1).clamp(0, 61)
    value = (value + 1) >> 1
    return value.clamp(-LIMIT, LIMIT).to(torch.int32)


def blend(rows: tuple[Tensor, Tensor, Tensor], by: tuple[int, int, int]) -> Tensor:
    """Sum of int32 rows, each limited and times a scale of BLEND_FRAC fractional bits: of 44 bits."""
    terms = [x.clamp(-_BLEND_LIMIT, _BLEND_LIMIT).to(torch.int64) * scale for x, scale in zip(rows, by, strict=True)]
    total = (terms[0] + terms[1] + terms[2] + (ONE >> 1)) >> BLEND_FRAC
    return total.clamp(-LIMIT, LIMIT).to(torch.int32)


def add(x: Tensor, y: Tensor) -> Tensor:
    """Sum of int32, each at most 2^30 in size, limited to 2^30 - 1."""
    return (x + y).clamp(-LIMIT, LIMIT)
