"""Tensors that wait on disk until the model file is written, so that memory holds one layer."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

from zllm.models.zlm import Tensor


class Spool:
    """A nameless file of tensors in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by close)
        self._parts: list[tuple[str, str, tuple[int, ...], int, int]] = []

    def put(self, name: str, tensor: Tensor) -> None:
        """Keep one."""
        dtype, shape, data = tensor
        self._file.write(b"\0" * (-self._file.tell() % 64))
        self._parts.append((name, dtype, shape, self._file.tell(), len(data)))
        self._file.write(data)

    def tensors(self) -> dict[str, Tensor]:
        """All that were put, in memory as far as they are used."""
        self._file.flush()
        view = memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
        return {name: (dtype, shape, view[at : at + size]) for name, dtype, shape, at, size in self._parts}

    def close(self) -> None:
        """Tensors that were handed out stay readable."""
        self._file.close()
