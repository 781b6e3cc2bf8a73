"""What a call in C is watched by while it runs: a flag that ends it, a count of bytes, seconds by stage."""

from __future__ import annotations

from typing import Any

from zllm._native.core import ffi, lib


class Cancel:
    """A flag that C polls."""

    def __init__(self) -> None:
        self._flag = ffi.new("int32_t *", 0)

    def set(self) -> None:
        """Make every call that was given this flag end soon, with :class:`KeyboardInterrupt`."""
        self._flag[0] = 1

    def is_set(self) -> bool:
        """Whether it was set."""
        return bool(self._flag[0])


class Counter:
    """Bytes of text done; C counts up, anyone may read."""

    def __init__(self) -> None:
        self._count = ffi.new("uint64_t *", 0)

    @property
    def value(self) -> int:
        """The count."""
        return int(self._count[0])

    def add(self, count: int) -> None:
        """Count bytes that were done without C; not while C counts."""
        self._count[0] += count


class Stages:
    """Nanoseconds per stage of coding, added up over calls; not to be shared between threads."""

    NAMES = (
        "matrix",
        "head",
        "attention",
        "quantise",
        "scale",
        "cache",
        "softmax",
        "gate",
        "weights",
        "walk",
        "mixer",
        "wait",
    )

    def __init__(self) -> None:
        self._nanoseconds = ffi.new("uint64_t[]", lib.ZLLM_STAGES)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage name."""
        return {name: ns / 1e9 for name, ns in zip(self.NAMES, self._nanoseconds, strict=True)}


def watched(cancel: Cancel | None, counter: Counter | None) -> tuple[Any, Any]:
    """Both as C takes them."""
    return cancel._flag if cancel else ffi.NULL, counter._count if counter else ffi.NULL
