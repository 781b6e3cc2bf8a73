"""Tokens of arbitrary bytes by a tokenizer that was made for text, as imported models have.

Such a tokenizer may change text (Unicode forms, spaces, special tokens) and takes valid text only. So what it gives is
checked: a piece of text whose tokens' bytes are not its own is halved and tried again, and what is left, as well as
bytes that are not valid UTF-8, becomes tokens of single bytes, which every token table has: those that the tokenizer
lacks are added to it. So ``decode(encode(b)) == b``
for all ``b``, whatever the tokenizer does; a strange one only costs tokens.

Sources: Radford et al. 2019 (byte-level BPE and its alphabet); Kudo and Richardson 2018 (SentencePiece, U+2581 for
spaces, ``<0xNN>`` for bytes).
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from zllm.errors import ModelError
from zllm.models.library import PROBES, PROSE, SPACE, guarded, opened, quiet

KINDS = ("bytelevel", "sentencepiece")
MAX_TOKEN_BYTES = 1024  # of a model file's token table
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PIECE = 1 << 14  # bytes of text that are tokenised at a time: a mismatch costs at most this much again, 11 times
_HOPELESS = 16  # characters that become single bytes when they do not come back


@functools.lru_cache(maxsize=1)
def alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: a printable character of Latin-1 is its own byte, the others follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def token_bytes(kind: str, text: str) -> bytes | None:
    """The bytes of a vocabulary's entry; None if it is not a piece of text."""
    if kind == "sentencepiece":
        if match := _BYTE.fullmatch(text):
            return bytes([int(match[1], 16)])
        try:
            return text.replace(SPACE, " ").encode()
        except UnicodeEncodeError:
            return None
    table = alphabet()
    try:
        return bytes(table[c] for c in text)
    except KeyError:
        return None


def entries(kind: str, vocab: dict[str, int], added: Iterable[str]) -> list[tuple[bytes, int]]:
    """(bytes, id) of all entries that are tokens of a model. Of equal ones, that which the tokenizer uses comes first:
    ``added`` ones, as they stand, before the others, and bytes by number last.
    """
    plain = set(added)
    found = []
    for text, index in vocab.items():
        data = text.encode() if text in plain else token_bytes(kind, text)
        if data and len(data) <= MAX_TOKEN_BYTES:
            last = kind == "sentencepiece" and _BYTE.fullmatch(text) is not None
            found.append((0 if text in plain else 2 if last else 1, index, data))
    return [(data, index) for _, index, data in sorted(found)]


class TextTokenizer:
    """As :class:`zllm.models.tokenizer.BytesTokenizer`, for a tokenizer of one of :data:`KINDS`."""

    def __init__(self, tokenizer_json: str, kind: str) -> None:
        if kind not in KINDS:
            raise ModelError(f"tokenizers of kind {kind!r} are unknown: use a newer zllm")
        self.json = tokenizer_json
        self._tok, settings, vocab = opened(tokenizer_json, kind)
        self._batch = getattr(self._tok, "encode_batch_fast", self._tok.encode_batch)
        self._added = [str(token["content"]) for token in settings.get("added_tokens") or ()]
        pairs = entries(kind, vocab, self._added)
        self.tokens: list[bytes] = sorted({data for data, _ in pairs} | {bytes([b]) for b in range(256)})
        rank = {data: i for i, data in enumerate(self.tokens)}
        self._rank = [-1] * (max(vocab.values(), default=0) + 1)
        for data, index in pairs:
            self._rank[index] = rank[data]
        self._single = [rank[bytes([b])] for b in range(256)]

    def encode(self, data: bytes) -> list[int]:
        """Token ids (trie order) of ``data``."""
        return self.encode_batch([data])[0]

    def encode_batch(self, parts: Sequence[bytes]) -> list[list[int]]:
        """As :meth:`encode`, for many parts at once.

        Raises:
            ModelError: the library failed.
        """
        runs = [_runs(part) for part in parts]
        texts = [run for part in runs for run in part if isinstance(run, str)]
        coded = iter(self._texts(texts))
        single = self._single
        result = []
        for part in runs:
            ids: list[int] = []
            for run in part:
                ids += next(coded) if isinstance(run, str) else [single[b] for b in run]
            result.append(ids)
        return result

    def _texts(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, proven: what does not come back is halved."""
        out: list[list[int]] = []
        again: list[str] = []
        for text, encoding in zip(texts, self._asked(texts), strict=True):
            out.append(self._checked(text, encoding))
            if text and not out[-1] and len(text) > _HOPELESS:
                again += [text[: len(text) // 2], text[len(text) // 2 :]]
        halves = iter(self._texts(again) if again else ())
        for i, text in enumerate(texts):
            if text and not out[i]:
                long = len(text) > _HOPELESS
                out[i] = next(halves) + next(halves) if long else [self._single[b] for b in text.encode()]
        return out

    def _asked(self, texts: list[str]) -> list[Any]:
        with guarded("its tokenizer cannot make tokens of a text"):
            return list(self._batch(texts, add_special_tokens=False))

    def check(self) -> None:
        """Try it on text of every kind, and on every byte.

        Raises:
            ModelError: it changes plain prose, or the library fails.
        """
        probes = [*PROBES, *(text.encode("utf-8", "replace") for text in self._added)]
        probes += [bytes([b]) for b in range(256)]
        with quiet():
            found = self.encode_batch(probes)
            (prose,) = self._asked([PROSE])
        for probe, ids in zip(probes, found, strict=True):
            if self.decode(ids) != probe:
                raise ModelError(f"its tokenizer changes text: {probe[:40]!r} becomes {self.decode(ids)[:40]!r}")
        if not self._checked(PROSE, prose):
            raise ModelError(f"its tokenizer changes text: the tokens of {PROSE[:40]!r}... are not that text")

    def _checked(self, text: str, encoding: Any) -> list[int]:
        """The tokens' ids, none if their bytes are not the text's."""
        rank, tokens = self._rank, self.tokens
        ids = [rank[i] for i in encoding.ids if i < len(rank)]
        if not ids or min(ids) < 0 or b"".join([tokens[i] for i in ids]) != text.encode():
            return []
        return ids

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of ``ids``."""
        tokens = self.tokens
        return b"".join(tokens[i] for i in ids)


def _runs(data: bytes) -> list[str | bytes]:
    """``data`` as pieces of valid text, and of bytes that are none."""
    found: list[str | bytes] = []
    at = 0
    while at < len(data):
        block = data[at : at + _PIECE]
        last = at + len(block) == len(data)
        try:
            text, _ = codecs.utf_8_decode(block, "strict", last)
        except UnicodeDecodeError as exc:
            text, bad = block[: exc.start].decode(), block[exc.start : exc.end]
            found += [text, bad] if text else [bad]
            at += exc.end
            continue
        if not last:
            text = text[: _cut(text)]
        found.append(text)
        at += len(text.encode())
    return found


def _cut(text: str) -> int:
    """Where to end a piece that goes on: after a line, or before a space, where tokens end anyway."""
    half = len(text) // 2
    line = text.rfind("\n", half) + 1
    return line or max(text.rfind(" ", half), 0) or len(text)
