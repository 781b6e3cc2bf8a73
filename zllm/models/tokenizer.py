"""Byte-level BPE over arbitrary bytes.

Text is handed to the ``tokenizers`` library as Latin-1, where every byte is one character and every byte string is
valid, so nothing is dropped, replaced or normalised: ``decode(encode(b)) == b`` for all ``b``.

Source: Sennrich et al. 2016 (BPE); the pre-tokenizer's shape follows the GPT-4 family's split pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from zllm.errors import MissingDependencyError

MAX_TOKEN_BYTES = 24

# One class per alternative, tried in order. Bytes 0x80 to 0xFF count as letters: they are pieces of UTF-8 characters.
SPLIT_PATTERN = "|".join(
    [
        r"[ \t!-/:-@\[-`{-~]?[A-Za-z\x{80}-\x{ff}]+",  # a word, with the space or sign before it
        r" ?[0-9]{1,3}",
        r"(?:\r?\n)+[ \t]*",  # line ends with the indentation that follows
        r" ?[!-/:-@\[-`{-~]+",  # a run of punctuation
        r" +(?= )",  # leave one space for the word that follows
        r"[ \t]+",
        r"[\x{00}-\x{1f}\x{7f}]",
    ]
)

# Before a space or a line end that follows a letter: there every alternative has ended, and none looks back, so the
# parts' tokens are those of the whole.
_SEAM = re.compile(rb"(?<=[A-Za-z\x80-\xff])[ \r\n]")
_PART = 32 << 10


def tokenizers_library() -> Any:
    """The ``tokenizers`` library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as exc:
        raise MissingDependencyError("tokenizers", "pip install tokenizers", "encoding text with a model") from exc
    return tokenizers


def train_bpe(texts: Iterable[bytes], vocab_size: int) -> str:
    """Train a byte-level BPE and return it as ``tokenizer.json`` text. All 256 single bytes are in the vocabulary."""
    lib = tokenizers_library()
    from tokenizers import models, pre_tokenizers, trainers

    tok = lib.Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Split(lib.Regex(SPLIT_PATTERN), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=[chr(i) for i in range(256)],
        max_token_length=MAX_TOKEN_BYTES,
        show_progress=False,
    )
    tok.train_from_iterator((t.decode("latin-1") for t in texts), trainer)
    return str(tok.to_str())


class BytesTokenizer:
    """Encodes bytes to token ids in the *trie order* of the model: ids ascend with the tokens' bytes.

    ``tokens`` is the vocabulary, sorted by bytes; its index is the id. ``ranks`` gives it for the library's own ids.
    """

    def __init__(self, tokenizer_json: str) -> None:
        self.json = tokenizer_json
        self._tok = tokenizers_library().Tokenizer.from_str(tokenizer_json)
        # The fast one (since tokenizers 0.20) does not keep where in the text each token was, which nobody asks.
        self._batch = getattr(self._tok, "encode_batch_fast", self._tok.encode_batch)
        vocab: dict[str, int] = self._tok.get_vocab()
        pairs = sorted((text.encode("latin-1"), index) for text, index in vocab.items())
        self.tokens: list[bytes] = [token for token, _ in pairs]
        self.ranks = [0] * (max(vocab.values()) + 1)
        for rank, (_, index) in enumerate(pairs):
            self.ranks[index] = rank

    def encode(self, data: bytes) -> list[int]:
        """Token ids (trie order) of ``data``: in parts, for the library takes 150 bytes of memory a byte of text."""
        ids: list[int] = []
        at = 0
        while at < len(data):
            seam = _SEAM.search(data, at + _PART)
            end = seam.start() if seam else len(data)
            ids += self.encode_batch([data[at:end]])[0]
            at = end
        return ids

    def encode_batch(self, parts: Sequence[bytes]) -> list[list[int]]:
        """As :meth:`encode`, for many parts at once."""
        rank = self.ranks
        return [[rank[i] for i in e.ids] for e in self._batch([p.decode("latin-1") for p in parts])]

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of ``ids``."""
        tokens = self.tokens
        return b"".join(tokens[i] for i in ids)
