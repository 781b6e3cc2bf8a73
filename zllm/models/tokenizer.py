"""Byte-level BPE over arbitrary bytes.

Text is handed to the ``tokenizers`` library as Latin-1, where every byte is one character and every byte string is
valid. A file made elsewhere may still have a tokenizer that changes text, so tokens are compared with it, always,
and what does not come back is halved and tried again, down to single bytes: ``decode(encode(b)) == b`` for all ``b``.

Source: Sennrich et al. 2016 (BPE); the pre-tokenizer's shape follows the GPT-4 family's split pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zllm.errors import ModelError
from zllm.models.library import LATIN1, PROBES, guarded, library, opened, quiet

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

# Digits one by one, and indentation apart from the line's end: 0.27 and 0.19% fewer bits (docs/experiments).
SPLIT_FINE = SPLIT_PATTERN.replace("[0-9]{1,3}", "[0-9]").replace(r"(?:\r?\n)+[ \t]*", r"(?:\r?\n)+")

# Before a space or a line end that follows a letter: there every alternative has ended, and none looks back, so the
# parts' tokens are those of the whole.
_SEAM = re.compile(rb"(?<=[A-Za-z\x80-\xff])[ \r\n]")
_PART = 32 << 10
_HOPELESS = 16  # bytes that become single bytes when they do not come back


def train_bpe(texts: Iterable[bytes], vocab_size: int, pattern: str = SPLIT_PATTERN) -> str:
    """Train a byte-level BPE and return it as ``tokenizer.json`` text. All 256 single bytes are in the vocabulary.

    No token crosses a boundary of the pieces that ``pattern`` boundaries text into.
    """
    lib = library()
    from tokenizers import models, pre_tokenizers, trainers

    tok = lib.Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Split(lib.Regex(pattern), "isolated")
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
        self._tok, _, vocab = opened(tokenizer_json, LATIN1)
        # The fast one (since tokenizers 0.20) does not keep where in the text each token was, which is not needed here.
        self._batch = getattr(self._tok, "encode_batch_fast", self._tok.encode_batch)
        try:
            pairs = sorted((text.encode("latin-1"), index) for text, index in vocab.items())
        except UnicodeEncodeError as exc:
            raise ModelError("its tokenizer has tokens that are not bytes") from exc
        self.tokens: list[bytes] = [token for token, _ in pairs]
        self.ranks = [0] * (max(vocab.values(), default=0) + 1)
        for rank, (_, index) in enumerate(pairs):
            self.ranks[index] = rank
        by_bytes = {token: rank for rank, token in enumerate(self.tokens)}
        try:
            self._single = [by_bytes[bytes([b])] for b in range(256)]
        except KeyError as exc:
            raise ModelError("not every single byte is a token") from exc

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
        """As :meth:`encode`, for many parts at once.

        Raises:
            ModelError: the library failed.
        """
        found = self._asked(parts)
        return [ids if self.decode(ids) == part else self._halved(part) for part, ids in zip(parts, found, strict=True)]

    def _asked(self, parts: Sequence[bytes]) -> list[list[int]]:
        """What the library says, whatever it is worth."""
        rank = self.ranks
        with guarded("its tokenizer cannot make tokens of a text"):
            found = self._batch([part.decode("latin-1") for part in parts], add_special_tokens=False)
            return [[rank[i] for i in encoding.ids] for encoding in found]

    def _halved(self, part: bytes) -> list[int]:
        if len(part) <= _HOPELESS:
            return [self._single[b] for b in part]
        half = len(part) // 2
        first, second = self.encode_batch([part[:half], part[half:]])
        return first + second

    def check(self) -> None:
        """Try it on text of every kind, and on every byte.

        Raises:
            ModelError: it changes text, or the library fails.
        """
        probes = [*PROBES, *(bytes([b]) for b in range(256))]
        with quiet():
            found = self._asked(probes)
        for probe, ids in zip(probes, found, strict=True):
            if self.decode(ids) != probe:
                raise ModelError(f"its tokenizer changes text: {probe[:40]!r} becomes {self.decode(ids)[:40]!r}")

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of ``ids``."""
        return b"".join(map(self.tokens.__getitem__, ids))
