"""The encoder's tokenizer works in parts, whose tokens are those of the whole."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from zllm.models import store, tokenizer
from zllm.models.tokenizer import BytesTokenizer

SEAMS = b"a \nb\r\n\r\n  c  d\te,f 12 3456 'g' h--i \xc3\xa9 j. K\x00l "
WITHOUT = (b"\xe4\xb8\xad\xe6\x96\x87", b"1 2", b"..\n", b"   ")


@pytest.fixture(scope="module")
def words() -> BytesTokenizer:
    made = store.resolve("fast").tokenizer
    assert isinstance(made, BytesTokenizer)
    return made


def text(seed: int) -> bytes:
    draw = random.Random(seed)
    return b"".join(SEAMS[i : i + 1 + draw.randrange(9)] for i in draw.choices(range(len(SEAMS)), k=3000))


@pytest.mark.parametrize("seed", range(20))
def test_parts_make_the_tokens_of_the_whole(words: BytesTokenizer, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_PART", 1 + 7 * seed)
    data = text(seed)
    assert words.encode(data) == words.encode_batch([data])[0]


@pytest.mark.parametrize("unit", WITHOUT)
def test_text_without_seams(words: BytesTokenizer, unit: bytes) -> None:
    data = unit * (100_000 // len(unit))
    assert words.encode(data) == words.encode_batch([data])[0]


def test_the_library_gets_small_parts(words: BytesTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 256 KiB at once it took 40 MB, in each thread."""
    sizes = []

    def noting(parts: list[bytes]) -> list[list[int]]:
        sizes.extend(map(len, parts))
        return [[0] for _ in parts]

    monkeypatch.setattr(words, "encode_batch", noting)
    words.encode(b"words and " * 30_000)
    assert sum(sizes) == 300_000
    assert all(32 << 10 <= size <= (32 << 10) + 10 for size, _ in pairwise(sizes))
