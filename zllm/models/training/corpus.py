"""Training text: every regular file under a folder, seen as one long run of bytes and cut into shuffled chunks.

Documents inside a file are joined by one 0x00 byte, which is also the token a model is started with, so a chunk that
follows a 0x00 teaches the start of a document.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zllm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zllm.models.tokenizer import BytesTokenizer

CHUNK_BYTES = 3500  # a little over 1,024 tokens' worth of the mix that the tokenizer is trained on
MIN_BYTES = 2 * CHUNK_BYTES
DOCUMENT_START_SHARE = 0.2  # of the chunks; they are moved forward to the next 0x00 byte


class Corpus:
    """Random access to training chunks; chunk ``i`` of epoch ``e`` depends on ``(seed, e, i)`` and the files alone."""

    def __init__(self, folder: Path, seed: int = 1, suffixes: tuple[str, ...] = (".txt",)) -> None:
        self.seed = seed
        self._maps: list[mmap.mmap] = []
        spans = []
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size > MIN_BYTES and path.suffix in suffixes:
                with path.open("rb") as file:
                    self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                spans.append(path.stat().st_size // CHUNK_BYTES)
        if not spans:
            raise UsageError(f"no training text under {folder}: at least {MIN_BYTES:,} bytes are needed")
        self._starts = np.cumsum([0, *spans])
        self.chunks = int(self._starts[-1])
        self._epoch = -1
        self._order = np.zeros(0, np.int64)

    @property
    def size(self) -> int:
        """Total bytes of text."""
        return sum(len(m) for m in self._maps)

    def chunk(self, number: int, size: int) -> bytes:
        """``size`` bytes for the ``number``-th training example (fewer at a file's end)."""
        epoch, index = divmod(number, self.chunks)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.chunks)
        rng = np.random.default_rng([self.seed, 7, number])
        pick = int(self._order[index])
        which = int(np.searchsorted(self._starts, pick, side="right")) - 1
        text = self._maps[which]
        start = (pick - int(self._starts[which])) * CHUNK_BYTES + int(rng.integers(CHUNK_BYTES))
        if rng.random() < DOCUMENT_START_SHARE:
            found = text.find(b"\0", start)
            start = found if 0 <= found < len(text) - CHUNK_BYTES else start
        return text[start : start + size]

    def sample(self, total: int, piece: int = 65536) -> Iterator[bytes]:
        """About ``total`` bytes in pieces, spread evenly over the whole corpus (for the tokenizer)."""
        step = max(1, self.size // max(1, total // piece))
        for text in self._maps:
            for start in range(0, len(text), step):
                yield text[start : start + piece]

    def batch(self, tokenizer: BytesTokenizer, first: int, rows: int, length: int) -> np.ndarray:
        """Rows ``first`` to ``first + rows`` as ids, int64 [rows, length]."""
        out = np.zeros((rows, length), np.int64)
        parts = [self.chunk(first + r, 6 * length) for r in range(rows)]
        for row, ids in enumerate(tokenizer.encode_batch(parts)):
            got = ids[:length]
            while len(got) < length:  # very short tokens, or the end of a file: go on with the same text
                got = (got + ids)[:length]
            out[row] = got
        return out
