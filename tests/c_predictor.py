"""The core's predictor by itself, for the reference to be plugged into: compiled from its sources, called by ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import reference

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "zllm_heap_open": (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]),
    "zllm_heap_close": (None, [ctypes.c_void_p]),
    "zllm_predictor_new": (ctypes.c_void_p, [*[ctypes.c_void_p] * 2, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int]),
    "zllm_predictor_free": (None, [ctypes.c_void_p]),
    "zllm_predictor_cursor": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_uint32]),
    "zllm_cursor_start": (None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64]),
    "zllm_predictor_bit": (ctypes.c_uint32, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]),
    "zllm_predictor_update": (None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]),
    "zllm_cursor_skip": (None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]),
    "zllm_predictor_flag": (ctypes.c_uint32, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]),
    "zllm_predictor_update_flag": (None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]),
    "zllm_cursor_token": (None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]),
    "zllm_cursor_cut": (None, [ctypes.c_void_p, ctypes.c_void_p]),
}


class _Frame:
    """A frame's predictor; it lives as long as a cursor does."""

    def __init__(self, lib: ctypes.CDLL, sizes: list[int], lm: int) -> None:
        self.lib = lib
        self.heap = ctypes.c_void_p()
        assert lib.zllm_heap_open(None, ctypes.byref(self.heap)) == 0
        operations = ctypes.addressof(ctypes.c_char.in_dll(lib, "zllm_operations_generic"))
        self.address = lib.zllm_predictor_new(self.heap, operations, sum(sizes), len(sizes), lm)
        for i, (start, end) in enumerate(pairwise([0, *accumulate(sizes)])):
            lib.zllm_cursor_start(self.address, i, start, end)

    def __del__(self) -> None:
        self.lib.zllm_predictor_free(self.address)
        self.lib.zllm_heap_close(self.heap)


class CCursor:
    """See :class:`reference.Cursor`."""

    def __init__(self, frame: _Frame, number: int) -> None:
        self.frame = frame
        self.c = frame.address, frame.lib.zllm_predictor_cursor(frame.address, number)

    def bit(self, lm: int) -> int:
        return int(self.frame.lib.zllm_predictor_bit(*self.c, lm))

    def update(self, bit: int) -> None:
        self.frame.lib.zllm_predictor_update(*self.c, bit)

    def skip(self, bit: int) -> None:
        self.frame.lib.zllm_cursor_skip(*self.c, bit)

    def flag(self, lm: int) -> int:
        return int(self.frame.lib.zllm_predictor_flag(*self.c, lm))

    def update_flag(self, end: int) -> None:
        self.frame.lib.zllm_predictor_update_flag(*self.c, end)

    def token(self, token: int) -> None:
        self.frame.lib.zllm_cursor_token(*self.c, token)

    def cut(self) -> None:
        self.frame.lib.zllm_cursor_cut(*self.c)


class Cursors:
    """Makes the cursors of a frame, of the sizes of its streams."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            pytest.skip("there is no C compiler")
        out = folder / "predictor.so"
        sources = [*sorted((checkout / "csrc" / "predictor").glob("*.c")), checkout / "csrc" / "heap.c"]
        flags = ["-O2", "-std=c11", "-shared", "-fPIC", f"-I{checkout / 'csrc'}", f"-I{checkout / 'csrc' / 'include'}"]
        subprocess.run([compiler, *flags, *map(str, sources), "-o", str(out)], check=True)
        self._lib = ctypes.CDLL(str(out))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments

    def with_model(self, sizes: list[int]) -> list[reference.Cursor]:
        """A :data:`reference.Predictor`."""
        return self._new(sizes, 1)

    def alone(self, sizes: list[int]) -> list[reference.Cursor]:
        """Without a language model."""
        return self._new(sizes, 0)

    def _new(self, sizes: list[int], lm: int) -> list[reference.Cursor]:
        frame = _Frame(self._lib, sizes, lm)
        return [CCursor(frame, number) for number in range(len(sizes))]
