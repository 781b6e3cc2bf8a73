"""GGUF files (version 2 and 3): their metadata, and where their tensors are.

The header is read here, and not by the ``gguf`` library, which believes every count and length that a file states;
what the blocks of quantised tensors mean is left to it. Layout: the specification of ggml, ``docs/gguf.md``.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.library import line

MAGIC = b"GGUF"
INSTALL = "pip install 'zllm[gguf]'"
MOST_FIELDS, MOST_TENSORS, MOST_HEADER = 1 << 16, 1 << 16, 1 << 28
_LEAST_BYTES_OF_A_FIELD, _LEAST_BYTES_OF_A_TENSOR = 13, 24
_STRING, _ARRAY, _BOOL, _FLOAT = 8, 9, 7, 6
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}


@dataclass(frozen=True)
class Stored:
    """A tensor in the file. ``shape`` as torch has it: neighbours differ in the last index. ``kind``: ggml's number."""

    shape: tuple[int, ...]
    kind: int
    offset: int


class HeaderError(Exception):
    """The header ends too early, or says what cannot be."""


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 0, min(len(data), MOST_HEADER)

    def take(self, size: int) -> bytes:
        if size > self.end - self.at:
            raise HeaderError("its header is cut short, or larger than 256 MiB")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack("<" + form, self.take(struct.calcsize(form)))[0])

    def count(self, least: int, most: int | None = None) -> int:
        """How many things of so many bytes at least follow."""
        n = self.number("Q")
        if n > (self.end - self.at) // least or (most is not None and n > most):
            raise HeaderError(f"its header states {n} entries, more than it can hold")
        return n

    def text(self) -> str:
        return self.take(self.count(1)).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise HeaderError(f"its header has a value of the unknown type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        found = np.frombuffer(self.take(dtype.itemsize), dtype)[0]
        # A config says 1e-05, for which a float32 stands: the shortest number that it can be.
        return float(str(found)) if kind == _FLOAT else found.item()

    def _array(self) -> list[Any]:
        kind = self.number("I")
        if kind == _STRING:
            return [self.text() for _ in range(self.count(8))]
        if kind not in _SCALARS:
            raise HeaderError(f"its header has a list of the unsupported type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        found: list[Any] = np.frombuffer(self.take(self.count(dtype.itemsize) * dtype.itemsize), dtype).tolist()
        return found

    def tensor(self) -> tuple[str, Stored]:
        name = self.text()
        dimensions = self.number("I")
        if not 1 <= dimensions <= 4:
            raise HeaderError(f"its tensor {name[:60]} has {dimensions} dimensions")
        shape = tuple(self.number("Q") for _ in range(dimensions))
        return name, Stored(shape[::-1], self.number("I"), self.number("Q"))


class GgufFile:
    """An open file. ``fields``: its metadata; numbers are Python's, lists are lists."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ModelError: it is not a GGUF file that can be read.
            OSError: the file cannot be read.
        """
        self.path = path
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ModelError(f"{path}: not a GGUF file")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, Stored] = {}
        try:
            self._read(_Cursor(self._data))
        except (HeaderError, UnicodeDecodeError, struct.error) as exc:
            raise ModelError(f"{path}: not a GGUF file that can be read: {line(exc)}") from exc

    def _read(self, cursor: _Cursor) -> None:
        cursor.take(4)
        version = cursor.number("I")
        if version not in (2, 3):
            order = " (of the other byte order)" if version & 0xFFFF == 0 else ""
            raise HeaderError(f"its version is {version}{order}, not 2 or 3")
        tensors = cursor.count(_LEAST_BYTES_OF_A_TENSOR, MOST_TENSORS)
        for _ in range(cursor.count(_LEAST_BYTES_OF_A_FIELD, MOST_FIELDS)):
            name = cursor.text()
            if name in self.fields:
                raise HeaderError(f"it has {name[:60]} twice")
            self.fields[name] = cursor.value(cursor.number("I"))
        for _ in range(tensors):
            name, stored = cursor.tensor()
            if name in self.tensors:
                raise HeaderError(f"it has the tensor {name[:60]} twice")
            self.tensors[name] = stored
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise HeaderError("its alignment is absurd")
        self._start = -(-cursor.at // alignment) * alignment

    def tensor(self, name: str) -> np.ndarray:
        """That tensor's numbers, dequantised: float32.

        Raises:
            ModelError: its type is unknown, or the file ends before it does.
            MissingDependencyError: the library ``gguf`` is not installed.
        """
        stored = self.tensors[name]
        sizes, dequantise = _library()
        block, size = sizes(stored.kind)
        columns = stored.shape[-1]
        elements = 1
        for n in stored.shape:
            elements *= n
        if block == 0 or columns % block:
            raise ModelError(
                f"{self.path}: the tensor {name} is of a type (number {stored.kind}) that is not supported"
            )
        at, bytes_ = self._start + stored.offset, elements // block * size
        if at + bytes_ > len(self._data):
            raise ModelError(f"{self.path}: cut short: the tensor {name} is not whole: download it again")
        raw = np.frombuffer(self._data, np.uint8, bytes_, at).reshape(*stored.shape[:-1], columns // block * size)
        try:
            return np.require(dequantise(raw, stored.kind), np.float32, ["C", "W"])
        except (NotImplementedError, ValueError, TypeError) as exc:
            raise ModelError(f"{self.path}: the tensor {name} cannot be dequantised ({line(exc)})") from exc


def _library() -> tuple[Callable[[int], tuple[int, int]], Callable[[np.ndarray, int], np.ndarray]]:
    """(elements and bytes of a block by type, 0 and 0 for unknown ones; what dequantises)."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
    except ImportError as exc:
        raise MissingDependencyError("gguf", INSTALL, "importing a GGUF file") from exc

    def sizes(kind: int) -> tuple[int, int]:
        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            return 0, 0
        return int(block), int(size)

    def dequantise(raw: np.ndarray, kind: int) -> np.ndarray:
        with np.errstate(all="ignore"):  # what is not finite is refused where it is used
            if GGMLQuantizationType(kind) == GGMLQuantizationType.F64:
                return raw.view("<f8").astype(np.float32)
            found: np.ndarray = quants.dequantize(raw, GGMLQuantizationType(kind))
        return found

    return sizes, dequantise
