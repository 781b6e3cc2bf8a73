"""The token table of an imported model, and its tokenizer without what changes text.

Byte-level BPE (GPT-2, Llama 3, Qwen, Pythia) and SentencePiece's BPE and Unigram with tokens for bytes (Llama 2,
TinyLlama). Special tokens are dropped, as are added ones but those of white space, which GPT-NeoX has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zllm.errors import ModelError
from zllm.models.library import SPACE
from zllm.models.texttokenizer import TextTokenizer, entries

_MAX_VOCAB = 1 << 18


@dataclass(frozen=True)
class Vocabulary:
    """``rows``: for each token, in the order of their bytes, its row in the checkpoint. ``start``: that of the token
    that starts a text, if there is one.
    """

    kind: str
    json: str
    tokens: list[bytes]
    rows: list[int]
    start: int | None


def read(folder: Path, config: Any, rows: int) -> Vocabulary:
    """The vocabulary of a checkpoint with so many rows in its embedding.

    Raises:
        ModelError: there is no tokenizer, or none that can be used.
    """
    data = _tokenizer(folder)
    kind = _kind(data, folder)
    vocab = _vocab(data)
    kept = [t for t in data.get("added_tokens") or () if not t["special"] and t["content"].isspace()]
    plain = [str(t["content"]) for t in kept]
    special = {str(t["content"]) for t in data.get("added_tokens") or ()} - {*plain, _unknown(data["model"])}
    ids = {text: index for text, index in vocab.items() if text not in special}
    ids |= {str(t["content"]): int(t["id"]) for t in kept}
    row: dict[bytes, int] = {}
    for token, index in entries(kind, ids, plain):
        row.setdefault(token, index)
    missing = [b for b in range(256) if bytes([b]) not in row]
    if missing:
        raise ModelError(
            f"{folder}: the vocabulary lacks {len(missing)} of the 256 single bytes (0x{missing[0]:02X} first), so not "
            "every file could be coded: only byte-level tokenizers and SentencePiece with byte fallback are supported"
        )
    tokens = sorted(row)
    beyond = max(row.values())
    if beyond >= rows or len(tokens) > _MAX_VOCAB:
        raise ModelError(f"{folder}: {len(tokens)} tokens, numbered up to {beyond}, do not fit {rows} embeddings")
    text = json.dumps(_clean(data, kind, special, kept), ensure_ascii=False)
    if TextTokenizer(text, kind).tokens != tokens:
        raise ModelError(f"{folder}: the tokenizer cannot be had without its special tokens")
    return Vocabulary(kind, text, tokens, [row[t] for t in tokens], _start(config, rows))


def _tokenizer(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else _converted(folder)
        data = json.loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
            raise ValueError("no tokenizer in it")
    except ValueError as exc:
        raise ModelError(f"{path}: not a tokenizer: {exc}") from exc
    return data


def _converted(folder: Path) -> str:
    """What transformers makes of older files (vocab.json and merges.txt, tokenizer.model)."""
    if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.model")):
        raise ModelError(
            f"{folder}: the tokenizer is missing: tokenizer.json, or vocab.json with merges.txt, or tokenizer.model"
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True, local_files_only=True)
        return str(tokenizer.backend_tokenizer.to_str())
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as exc:
        why = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
        raise ModelError(f"{folder}: its tokenizer cannot be read ({why}): save it as tokenizer.json") from exc


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """A normaliser or pre-tokenizer, and all that are inside it."""
    if isinstance(part, dict):
        yield part
        for key in ("normalizers", "pretokenizers"):
            for inner in part.get(key) or ():
                yield from _parts(inner)


def _kind(data: dict[str, Any], folder: Path) -> str:
    model = data["model"].get("type", "BPE")
    if model not in ("BPE", "Unigram"):
        raise ModelError(f"{folder}: tokenizers of type {model} are not supported: only BPE and Unigram")
    if any(p.get("type") == "ByteLevel" for p in _parts(data.get("normalizer"))):
        raise ModelError(f"{folder}: a tokenizer whose normaliser makes bytes is not supported")
    if any(p.get("type") == "ByteLevel" for p in _parts(data.get("pre_tokenizer"))):
        return "bytelevel"
    return "sentencepiece"


def _vocab(data: dict[str, Any]) -> dict[str, int]:
    vocab = data["model"].get("vocab") or {}
    if isinstance(vocab, dict):
        return {str(text): int(index) for text, index in vocab.items()}
    return {str(entry[0]): index for index, entry in enumerate(vocab)}


def _clean(data: dict[str, Any], kind: str, special: set[str], kept: list[dict[str, Any]]) -> dict[str, Any]:
    """The tokenizer without special tokens and without what changes text."""
    model = dict(data["model"])
    model.setdefault("type", "BPE")
    if model["type"] == "BPE":
        vocab = {text: index for text, index in _vocab(data).items() if text not in special}
        model["vocab"] = {text: i for i, text in enumerate(sorted(vocab, key=vocab.__getitem__))}
        model["merges"] = [m for m in map(_pair, model["merges"]) if vocab.keys() >= {*m, "".join(m)}]
        model["unk_token"] = model["dropout"] = None
    else:
        unknown = _unknown(model)
        model["vocab"] = [entry for entry in model["vocab"] if entry[0] not in special]
        model["unk_id"] = next((i for i, entry in enumerate(model["vocab"]) if entry[0] == unknown), None)
    normaliser, pre = None, data.get("pre_tokenizer")
    if kind == "bytelevel":
        pre = _without_prefix(pre)
    else:
        spaces = [p for p in _parts(pre) if p.get("type") == "Metaspace"]
        if spaces:
            split = spaces[0].get("split", True)
            pre = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": split}
        else:
            normaliser = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    added = [{**t, "lstrip": False, "rstrip": False, "normalized": False} for t in kept]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normaliser,
            "pre_tokenizer": pre, "post_processor": None, "decoder": None, "model": model}  # fmt: skip


def _unknown(model: dict[str, Any]) -> str | None:
    """Unigram cannot do without its token for what is unknown."""
    index = model.get("unk_id") if model.get("type") == "Unigram" else None
    return None if index is None else str(model["vocab"][index][0])


def _pair(merge: Any) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else list(merge)


def _without_prefix(part: Any) -> Any:
    """A byte-level pre-tokenizer that puts no space before the text."""
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if part.get("type") == "ByteLevel":
        part["add_prefix_space"] = False
    if "pretokenizers" in part:
        part["pretokenizers"] = [_without_prefix(inner) for inner in part["pretokenizers"]]
    return part


def _start(config: Any, rows: int) -> int | None:
    """The row of the token that a text starts with in training: its begin, else the end of the text before."""
    for name in ("bos_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, int) and 0 <= value < rows:
            return value
    return None
