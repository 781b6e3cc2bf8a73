"""Calls of the C core: the compiled extension, and its result codes as exceptions.

Every call that computes releases the interpreter lock (cffi does, in API mode).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from zllm.errors import DamagedError, KernelError, UsageError

try:
    from zllm._native._core import ffi, lib
except ImportError as exc:  # a checkout without its compiled extension
    raise ImportError(
        "zllm's compiled core is missing: install the package (pip install .), or pip install -e . to run in a checkout"
    ) from exc

__all__ = ["RoomError", "checked", "ffi", "lib", "trim_memory", "uint32s", "usual_room"]


class RoomError(Exception):
    """A code string became longer than the room for it: text that the predictor is always wrong about."""


def checked(rc: int) -> None:
    """Raise what a result code of C means, unless that is success.

    Raises:
        KeyboardInterrupt: the call was cancelled.
        MemoryError: there is no memory for what C needs, or a limit of it is reached.
        RoomError: an output is longer than the room for it.
        DamagedError: coded data is not what an encoder makes.
        KernelError: the kernel computes wrong integers.
        UsageError: an argument is out of its range.
    """
    if rc == lib.ZLLM_OK:
        return
    if rc == lib.ZLLM_E_CANCELLED:
        raise KeyboardInterrupt
    if rc == lib.ZLLM_E_MEMORY:
        raise MemoryError("out of memory in the model's working space")
    if rc == lib.ZLLM_E_SPACE:
        raise RoomError
    if rc == lib.ZLLM_E_DATA:
        raise DamagedError("the coded text is damaged, or was made by another model")
    if rc == lib.ZLLM_E_KERNEL_WRONG:
        raise KernelError(
            "this kernel computes wrong integers on this machine; nothing was coded. Demand another one with "
            "ZLLM_KERNEL=generic, and please report the processor"
        )
    raise UsageError(f"the coder refused its arguments (code {rc})")


def uint32s(values: Sequence[int]) -> array[int]:
    """The same numbers as an array of uint32, which may be the very same one."""
    return values if isinstance(values, array) and values.typecode == "I" else array("I", values)


def usual_room(size: int) -> int:
    """Bytes that are enough for the code string of nearly every text of ``size`` bytes: an eighth more, and what a
    few bytes that nothing predicts take. Where they are not, :class:`RoomError` says so.
    """
    return max(16, size + size // 8 + 1024)


def trim_memory() -> None:
    """Give the system back what malloc keeps for each thread: milliseconds, where malloc can do it at all."""
    lib.zllm_memory_trim()
