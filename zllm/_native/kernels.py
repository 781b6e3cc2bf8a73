"""The kernels: which there are, which can run here, whether they are right and how fast they are."""

from __future__ import annotations

import os
from typing import Any

from zllm._native.core import checked, ffi, lib
from zllm.errors import KernelError


def kernel_names() -> list[str]:
    """Every kernel that exists anywhere, fastest first."""
    names: list[str] = []
    while lib.zllm_kernel_name(len(names)) != ffi.NULL:
        names.append(ffi.string(lib.zllm_kernel_name(len(names))).decode())
    return names


def kernel_state(name: str) -> str:
    """'usable', 'unsupported' (by this processor), 'not built' or 'unknown'."""
    codes = {
        lib.ZLLM_OK: "usable",
        lib.ZLLM_E_KERNEL_UNSUPPORTED: "unsupported",
        lib.ZLLM_E_KERNEL_NOT_BUILT: "not built",
    }
    return codes.get(lib.zllm_kernel_state(name.encode()), "unknown")


def usable_kernels() -> list[str]:
    """The kernels that can run here, fastest first."""
    return [name for name in kernel_names() if kernel_state(name) == "usable"]


def demand(name: str) -> None:
    """Refuse a kernel that cannot run here.

    Raises:
        KernelError: that is so; the message says why, and which can.
    """
    state = kernel_state(name)
    if state == "usable":
        return
    why = {
        "unsupported": f"this processor cannot run the kernel {name!r}",
        "not built": f"the kernel {name!r} is not built for this processor family",
        "unknown": f"unknown kernel {name!r}",
    }[state]
    raise KernelError(f"{why}; usable here: {', '.join(usable_kernels())}")


def demanded(kernel: str | None = None) -> Any:
    """What the core is to be given as the name of ``kernel``, of that which ``ZLLM_KERNEL`` names, or of the fastest.

    Raises:
        KernelError: the kernel that is demanded cannot run here.
    """
    name = kernel or os.environ.get("ZLLM_KERNEL") or None
    if name is None:
        return ffi.NULL
    demand(name)
    return name.encode()


def predictor_variant(name: str) -> str:
    """The name of the adaptive predictor's operations that go with a kernel: several kernels have the same.

    Raises:
        KernelError: the kernel cannot run here.
    """
    demand(name)
    return str(ffi.string(lib.zllm_kernel_predictor(name.encode())).decode())


def kernel_rate(name: str, rows: int = 512, cols: int = 512, batch: int = 64, repeats: int = 50) -> float:
    """Multiply-adds a second that a kernel's blocked int8 matrix product reaches on one core.

    Raises:
        KernelError: there is no such kernel here.
    """
    demand(name)
    nanoseconds = ffi.new("uint64_t *")
    checked(lib.zllm_kernel_time(name.encode(), rows, cols, batch, repeats, ffi.NULL, nanoseconds))
    return rows * cols * batch * 1e9 / max(1, int(nanoseconds[0]))


def check_kernel(name: str) -> None:
    """Compare a kernel, and the predictor's operations that go with it, with the scalar code.

    Raises:
        KernelError: it gives other integers, or there is none of that name here.
    """
    demand(name)
    checked(lib.zllm_kernel_check(name.encode()))
