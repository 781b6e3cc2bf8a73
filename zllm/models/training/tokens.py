"""Documents as token ids, made once: two bytes an id in a file that is mapped, with a table of the documents.

Rows to train on are cut from it epoch by epoch: the documents of a category are shuffled and joined by the start token,
the whole is cut into rows, and the rows are shuffled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zllm import partial
from zllm.models.tokenizer import BytesTokenizer
from zllm.models.training.packs import Document, Texts

BLOCK = 4 << 20  # bytes of text that are tokenised at a time
START = 0  # the token of the byte 0x00


@dataclass
class TokenFile:
    """Ids of document ``d``: ``ids[starts[d] : starts[d + 1]]``, of ``sizes[d]`` bytes and ``categories[kinds[d]]``."""

    ids: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray
    categories: list[str]

    @classmethod
    def load(cls, path: Path) -> TokenFile:
        """From ``path``, as :func:`write` made it."""
        table = np.load(path.with_suffix(".npz"))
        names = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return cls(np.memmap(path, np.uint16, "r"), table["starts"], table["sizes"], table["kinds"], names)

    def tokens_of(self, kind: int) -> int:
        """Tokens of a category, each document's start token among them."""
        chosen = np.flatnonzero(self.kinds == kind)
        return int((self.starts[chosen + 1] - self.starts[chosen]).sum()) + len(chosen)


def write(path: Path, documents: Collection[Document], tokenizer: BytesTokenizer, log: Callable[[str], None]) -> None:
    """Tokenise ``documents`` into ``path`` (ids), ``.npz`` (table) and ``.json`` (names of categories) beside it."""
    names = sorted({document.category for document in documents})
    text, starts, done = Texts(), [0], 0
    with partial.whole_file(str(path)) as file:
        for group in _groups(list(documents)):
            for ids in tokenizer.encode_batch([text(document) for document in group]):
                file.write(np.array(ids, np.uint16).tobytes())
                starts.append(starts[-1] + len(ids))
            done += sum(document.length for document in group)
            log(f"{done / 1e6:.0f} MB, {starts[-1] / 1e6:.1f}M tokens")
        sizes = np.array([document.length for document in documents], np.int64)
        kinds = np.array([names.index(document.category) for document in documents], np.int16)
        np.savez(path.with_suffix(".npz"), starts=np.array(starts, np.int64), sizes=sizes, kinds=kinds)
        path.with_suffix(".json").write_text(json.dumps(names), encoding="utf-8")


def _groups(documents: Sequence[Document]) -> list[list[Document]]:
    groups: list[list[Document]] = [[]]
    size = 0
    for document in documents:
        if groups[-1] and size + document.length > BLOCK:
            groups.append([])
            size = 0
        groups[-1].append(document)
        size += document.length
    return groups


class Epochs:
    """Rows of one category: number ``i`` of all epochs depends on the file, the seed and ``i`` alone."""

    def __init__(self, file: TokenFile, kind: int, length: int, seed: int) -> None:
        self.file, self.length = file, length
        self._seed = [seed, kind]
        self._documents = np.flatnonzero(file.kinds == kind)
        self._whole = file.tokens_of(kind)
        self.rows = max(1, (self._whole - 1) // length)
        self._epoch = -1
        self._order = self._ends = self._rows = np.zeros(0, np.int64)
        self._phase = 0

    def _begin(self, epoch: int) -> None:
        rng = np.random.default_rng([*self._seed, epoch])
        self._epoch, self._order = epoch, rng.permutation(self._documents)
        starts = self.file.starts
        self._ends = np.cumsum(starts[self._order + 1] - starts[self._order] + 1)
        self._rows = rng.permutation(self.rows)
        self._phase = int(rng.integers(self._whole))

    def row(self, number: int) -> np.ndarray:
        """``length`` + 1 ids."""
        epoch, index = divmod(number, self.rows)
        if epoch != self._epoch:
            self._begin(epoch)
        at = (self._phase + int(self._rows[index]) * self.length) % self._whole
        out = np.empty(self.length + 1, np.int64)
        filled = 0
        which = int(np.searchsorted(self._ends, at, side="right"))
        while filled <= self.length:
            document = int(self._order[which])
            start, end = int(self.file.starts[document]), int(self.file.starts[document + 1])
            inside = at - (int(self._ends[which]) - (end - start + 1))  # 0: its start token
            if inside == 0:
                out[filled] = START
                filled, inside = filled + 1, 1
            part = self.file.ids[start + inside - 1 : end][: self.length + 1 - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            which = (which + 1) % len(self._order)
            at = int(self._ends[which - 1]) if which else 0
        return out


class Mixture:
    """Rows of all categories in turn, each as often as its share says. ``state`` is all that it has to remember."""

    def __init__(self, file: TokenFile, shares: Sequence[float], length: int, seed: int) -> None:
        self.sources = [Epochs(file, kind, length, seed) for kind in range(len(file.categories))]
        self.shares = np.array(shares)
        self.due = np.zeros(len(shares))
        self.taken = np.zeros(len(shares), np.int64)

    @property
    def state(self) -> dict[str, list[float]]:
        """For a checkpoint."""
        return {"due": self.due.tolist(), "taken": self.taken.tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """From a checkpoint."""
        self.due[:], self.taken[:] = state["due"], state["taken"]

    def batch(self, rows: int) -> np.ndarray:
        """The next rows, int64 [rows, length + 1]."""
        out = []
        for _ in range(rows):
            self.due += self.shares
            kind = int(self.due.argmax())
            self.due[kind] -= 1
            out.append(self.sources[kind].row(int(self.taken[kind])))
            self.taken[kind] += 1
        return np.stack(out)
