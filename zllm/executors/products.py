"""Products of int8 matrices, exactly.

``torch._int_mm`` multiplies int8 and adds up in int32. On CUDA it is taken: its sums, at most 16384 * 127 * 127 < 2^29,
fit. On processors its libraries add pairs of products in 16 bits where there is no instruction for dot products, which
saturates; so products there are of float32. A float32 holds every integer up to 2^24: as long as no sum of sizes of
products passes that, no sum of some of them does, in whatever order and fused or not, and nothing is ever rounded.
127 * 127 * 1040 is below 2^24, so that longer rows are cut into blocks of columns.

Library settings that multiply float32 with fewer bits (TF32, bfloat16, autocast) are switched off while the executor
computes (:func:`exactly`), and every executor multiplies the largest numbers there are before it is used
(:func:`check`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zllm.errors import KernelError, UsageError

BLOCK = 1024
"""Columns whose products are added up in float32."""
_ALIGN = 32
"""Rows and columns that _int_mm gets are multiples of it (it wants 8, and more than 16 rows)."""

# Since torch 2.9 each library has a setting of its own; before, there are two older ones.
_PRECISIONS: list[tuple[Any, str]]
if hasattr(torch.backends.mkldnn, "matmul"):
    _PRECISIONS = [(torch.backends.cuda.matmul, "fp32_precision"), (torch.backends.mkldnn.matmul, "fp32_precision")]
    _WHOLE: Any = "ieee"
else:
    _PRECISIONS = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.mkldnn, "allow_tf32")]
    _WHOLE = False


@contextlib.contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Without gradients, without autocast, and with whole float32 products.

    Raises:
        UsageError: the device has too little memory.
    """
    before = [getattr(owner, name) for owner, name in _PRECISIONS]
    for owner, name in _PRECISIONS:
        setattr(owner, name, _WHOLE)
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    except torch.cuda.OutOfMemoryError as exc:
        raise UsageError(f"{device} has too little memory for this model: use --device cpu") from exc
    finally:
        for (owner, name), value in zip(_PRECISIONS, before, strict=True):
            setattr(owner, name, value)


class Matrix:
    """An int8 matrix [rows][cols] to multiply rows of int8 by."""

    def __init__(self, q: Tensor, device: torch.device) -> None:
        self.rows, self.cols = q.shape
        self._whole: Tensor | None = None
        self._blocks: list[Tensor] = []
        if device.type == "cuda":
            padded = torch.zeros(-(-self.rows // _ALIGN) * _ALIGN, self.cols, dtype=torch.int8, device=device)
            padded[: self.rows] = q.to(device)
            self._whole = padded.t()
        else:
            self._blocks = [part.to(torch.float32).t().to(device) for part in torch.split(q, BLOCK, 1)]

    def __call__(self, x: Tensor) -> Tensor:
        """x [n][cols] int8 times the matrix: int32 [n][rows]."""
        if self._whole is not None:
            n = x.shape[0]
            short = -n % _ALIGN
            if short:
                x = torch.cat((x, x.new_zeros(short, self.cols)))
            return torch._int_mm(x, self._whole)[:n, : self.rows]
        if len(self._blocks) == 1:
            return (x.to(torch.float32) @ self._blocks[0]).to(torch.int32)
        acc = torch.zeros(x.shape[0], self.rows, dtype=torch.int32, device=x.device)
        for part, block in zip(torch.split(x, BLOCK, 1), self._blocks, strict=True):
            acc += (part.to(torch.float32) @ block).to(torch.int32)
        return acc


def batched(a: Tensor, b: Tensor) -> Tensor:
    """Products of float32 matrices of integers whose sums of sizes stay below 2^24: int32."""
    return torch.matmul(a, b).to(torch.int32)


def check(device: torch.device) -> None:
    """Multiply the largest numbers, and random ones, and compare.

    Raises:
        KernelError: this machine's products are not exact.
    """
    generator = torch.Generator().manual_seed(24)
    with exactly(device):
        for rows, cols in ((96, BLOCK), (300, 16384), (64, 96)):
            w = torch.randint(-127, 128, (rows, cols), dtype=torch.int8, generator=generator)
            w[0], w[1] = 127, -127
            x = torch.randint(-127, 128, (40, cols), dtype=torch.int8, generator=generator)
            x[0], x[1, ::2], x[1, 1::2] = 127, 127, -126
            _compare(Matrix(w, device)(x.to(device)), x.to(torch.int64) @ w.to(torch.int64).t())
        for most, slots in ((255, 512), (31, 4096)):
            a = torch.randint(0, most + 1, (3, 40, slots), generator=generator)
            b = torch.randint(-127, 128, (3, slots, 64), generator=generator)
            a[0, 0], b[0, :, 0] = most, 127
            _compare(batched(a.to(device, torch.float32), b.to(device, torch.float32)), a @ b)


def _compare(found: Tensor, wanted: Tensor) -> None:
    if not torch.equal(found.cpu().to(torch.int64), wanted):
        raise KernelError(
            "torch's matrix products are not exact on this device; nothing was coded. Use --executor native, and please"
            " report the device and torch's version"
        )
