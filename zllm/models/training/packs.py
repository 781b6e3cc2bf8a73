"""Packs of training text: shards of documents joined by one 0x00 byte, each with a table of what is where.

The table of ``NAME.txt`` is ``NAME.tsv``: a line a document, of offset, length, category and source, between tabs.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zllm.errors import UsageError


@dataclass(frozen=True)
class Document:
    """Where a document lies. ``source`` is ``repository:path``."""

    shard: Path
    offset: int
    length: int
    category: str
    source: str


def read_tables(folder: Path, pattern: str, without: Collection[str] = ()) -> list[Document]:
    """The documents of all shards whose name matches ``pattern``, but for those of the sources ``without``.

    Raises:
        UsageError: there is no such shard.
    """
    found = []
    for table in sorted(folder.glob(pattern + ".tsv")):
        for line in table.read_text(encoding="utf-8").splitlines():
            offset, length, category, source = line.split("\t", 3)
            if offset.isdigit() and not any(source.startswith(name + ":") for name in without):
                found.append(Document(table.with_suffix(".txt"), int(offset), int(length), category, source))
    if not found:
        raise UsageError(f"no shards {pattern}.txt with tables {pattern}.tsv in {folder}")
    return found


class Texts:
    """The bytes of documents, from mapped shards."""

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}

    def __call__(self, document: Document) -> bytes:
        """The document's bytes."""
        if document.shard not in self._maps:
            with document.shard.open("rb") as file:
                self._maps[document.shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[document.shard][document.offset : document.offset + document.length]


def sizes(documents: Collection[Document]) -> dict[str, int]:
    """Bytes by category, in the order of their names."""
    total: dict[str, int] = defaultdict(int)
    for document in documents:
        total[document.category] += document.length
    return dict(sorted(total.items()))


def shares(amounts: Mapping[str, int], power: float) -> dict[str, float]:
    """Each category's share of training: its amount to a power, so that small ones are not drowned by large ones."""
    weights = {name: float(amount) ** power for name, amount in amounts.items()}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()}


def sample(documents: Collection[Document], total: int, power: float, seed: int = 1) -> Iterator[bytes]:
    """About ``total`` bytes of pieces of documents, every category with its share of :func:`shares`."""
    piece = 32 << 10
    text = Texts()
    by_category: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_category[document.category].append(document)
    rng = np.random.default_rng(seed)
    for category, share in shares(sizes(documents), power).items():
        wanted = share * total
        for number in rng.permutation(len(by_category[category])):
            if wanted <= 0:
                break
            document = by_category[category][number]
            start = int(rng.integers(max(1, document.length - piece)))
            part = text(document)[start : start + piece]
            wanted -= len(part)
            yield part
