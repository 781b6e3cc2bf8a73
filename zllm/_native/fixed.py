"""The fixed-point functions of ``docs/arithmetic.md``, for its worked vectors."""

from __future__ import annotations

from collections.abc import Sequence

from zllm._native.core import ffi, lib


def rsqrt(x: int) -> tuple[int, int]:
    """(r, e) with r * 2^-e about 1 / sqrt(x)."""
    e = ffi.new("int32_t *")
    return int(lib.zllm_rsqrt(x, e)), int(e[0])


def exp2(d: int) -> int:
    """2^(-d / 2^16) in 2^-15."""
    return int(lib.zllm_exp2(d))


def sigmoid(x: int) -> int:
    """Sigmoid of x / 2^10 in 2^-15."""
    return int(lib.zllm_sigmoid(x))


def gelu(x: int) -> int:
    """GELU of x / 2^10 in 2^-25, |x| up to 32767."""
    return int(lib.zllm_gelu(x))


def sincos(phase: int) -> tuple[int, int]:
    """Sine and cosine of a turn's phase / 2^32, in 2^-15."""
    s, c = ffi.new("int32_t *"), ffi.new("int32_t *")
    lib.zllm_sincos(phase, s, c)
    return int(s[0]), int(c[0])


def quantise(x: Sequence[int], normalise: bool) -> tuple[list[int], int, int]:
    """(q, mantissa, exponent) of one row of int32."""
    q = ffi.new("int8_t[]", len(x))
    m, e = ffi.new("uint32_t *"), ffi.new("int32_t *")
    lib.zllm_quantise(ffi.new("int32_t[]", list(x)), len(x), int(normalise), q, m, e)
    return list(q), int(m[0]), int(e[0])
