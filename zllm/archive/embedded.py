"""Models that are inside the archive, on behalf of readers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zllm.errors import DamagedError, ModelError
from zllm.format import modelblock
from zllm.format.section import ModelRef

if TYPE_CHECKING:
    from zllm.models.store import Model


@dataclass
class Embedded:
    """A model in the archive. ``fetch`` gives its block's header and the coded file, and may raise DamagedError.

    ``other`` is another copy, in one of several archives that are read as one.
    """

    fetch: Callable[[], tuple[modelblock.ModelBlock, bytes | memoryview]]
    other: Embedded | None = None

    def load(self, ref: ModelRef) -> Model:
        """The model, from memory: nothing is installed.

        Raises:
            DamagedError: it is damaged, or is another one.
        """
        copy: Embedded | None = self
        problem: Exception | None = None
        while copy is not None:  # there may be thousands
            try:
                return copy._parsed(ref)
            except (DamagedError, ModelError) as exc:
                copy, problem = copy.other, exc
        raise DamagedError(
            f"the embedded model {ref.name!r} (sha256 {ref.sha256.hex()}, {ref.size} bytes) cannot be used: {problem}."
            " Pass its file with --model FILE.zlm, if there is another copy"
        ) from problem

    def _parsed(self, ref: ModelRef) -> Model:
        from zllm.models import store

        block, coded = self.fetch()
        if block.sha256 != ref.sha256:
            raise DamagedError("another model is in its place")
        return store.parse(modelblock.unpack(block, coded), Path(f"{ref.name} (embedded)"))

    def check(self) -> None:
        """Decode the model, and compare every checksum.

        Raises:
            DamagedError: it is damaged.
        """
        block, coded = self.fetch()
        modelblock.unpack(block, coded)


def in_file(file: BinaryIO, offset: int, other: Embedded | None = None) -> Embedded:
    """The model whose block is at ``offset`` of a seekable file. Nothing is read yet."""

    def fetch() -> tuple[modelblock.ModelBlock, bytes]:
        size = file.seek(0, io.SEEK_END)
        file.seek(min(offset, size))
        block = modelblock.unpack_header(file.read(modelblock.HEADER_SIZE))
        if offset + modelblock.HEADER_SIZE + block.coded_size > size:
            raise DamagedError("the archive ends inside it")
        return block, file.read(block.coded_size)

    return Embedded(fetch, other)


def in_memory(block: modelblock.ModelBlock, coded: bytes, other: Embedded | None = None) -> Embedded:
    """A model that came by in a pipe."""
    return Embedded(lambda: (block, coded), other)
