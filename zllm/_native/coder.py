"""The range coder alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zllm._native.core import checked, ffi, lib, uint32s
from zllm.errors import UsageError


def coder_encode(bits: bytes, probabilities: Sequence[int]) -> bytes:
    """The range coder alone: ``bits`` of 0 and 1, probability of a one in 2^-24 for each."""
    values = uint32s(probabilities)
    if len(values) != len(bits):
        raise UsageError("as many probabilities as bits are needed")
    room = ffi.new("uint8_t[]", 4 * len(bits) + 16)
    size = ffi.new("size_t *", len(room))
    checked(lib.zllm_coder_encode(bits, ffi.from_buffer("uint32_t[]", values), len(bits), room, size))
    return bytes(ffi.buffer(room, size[0]))


def coder_decode(coded: bytes, probabilities: Sequence[int]) -> bytes:
    """The bits that :func:`coder_encode` was given."""
    values = uint32s(probabilities)
    bits = ffi.new("uint8_t[]", max(1, len(values)))
    lib.zllm_coder_decode(coded, len(coded), ffi.from_buffer("uint32_t[]", values), len(values), bits)
    return bytes(ffi.buffer(bits, len(values)))


def coder_rate(bits: bytes, probabilities: Sequence[int], repeats: int = 3) -> tuple[float, float]:
    """Decisions a second that the range coder encodes and decodes on one core: the C code alone, best of repeats."""
    values = uint32s(probabilities)
    coded = coder_encode(bits, values)
    room, size = ffi.new("uint8_t[]", len(coded)), ffi.new("size_t *")
    view, decoded = ffi.from_buffer("uint32_t[]", values), ffi.new("uint8_t[]", max(1, len(bits)))
    encode_ns, decode_ns = [], []
    for _ in range(repeats):
        size[0] = len(room)
        started = time.perf_counter_ns()
        checked(lib.zllm_coder_encode(bits, view, len(bits), room, size))
        encoded = time.perf_counter_ns()
        lib.zllm_coder_decode(room, size[0], view, len(bits), decoded)
        decode_ns.append(time.perf_counter_ns() - encoded)
        encode_ns.append(encoded - started)
    return len(bits) * 1e9 / max(1, min(encode_ns)), len(bits) * 1e9 / max(1, min(decode_ns))
