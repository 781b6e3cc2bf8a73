"""The only door to the C core: its result codes are exceptions here, and its pointers Python objects."""

from __future__ import annotations

from zllm._native.coder import coder_decode, coder_encode, coder_rate
from zllm._native.core import RoomError, lib, trim_memory
from zllm._native.fixed import exp2, gelu, quantise, rsqrt, sigmoid, sincos
from zllm._native.jobs import Job, Team, work
from zllm._native.kernels import (
    check_kernel,
    kernel_names,
    kernel_rate,
    kernel_state,
    predictor_variant,
    usable_kernels,
)
from zllm._native.model import Model
from zllm._native.modelfile import CONFIG_FIELDS, VARIANT_FIELDS
from zllm._native.predictor import cm_decode, cm_encode, repeats
from zllm._native.watching import Cancel, Counter, Stages

__all__ = [
    "ARITHMETIC_VERSION", "CONFIG_FIELDS", "GIVEN", "VARIANT_FIELDS",
    "Cancel", "Counter", "Job", "Model", "RoomError", "Stages", "Team", "check_kernel", "cm_decode", "cm_encode",
    "coder_decode", "coder_encode", "coder_rate", "exp2", "gelu", "kernel_names", "kernel_rate", "kernel_state",
    "predictor_variant",
    "quantise", "repeats", "rsqrt", "sigmoid", "sincos", "trim_memory", "usable_kernels", "work",
]  # fmt: skip

ARITHMETIC_VERSION: int = lib.ZLLM_ARITHMETIC_VERSION
"""Raised whenever any integer on the coding path changes."""
GIVEN: int = lib.ZLLM_GIVEN
"""On a token to encode: the decoder knows it, it is context only."""
