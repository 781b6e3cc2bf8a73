"""The token table of an imported model, and its tokenizer without what changes text.

Byte-level BPE (GPT-2, Llama 3, Qwen, Pythia) and SentencePiece's BPE and Unigram with tokens for bytes (Llama 2,
TinyLlama). Special tokens are dropped, as are added ones but those of white space, which GPT-NeoX has. Single bytes
that the vocabulary lacks are added, with the rows of tokens that no text has.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.importing.config import Config
from zllm.models.library import MAX_JSON, SPACE, guarded, line, quiet
from zllm.models.texttokenizer import TextTokenizer, entries

_MAX_VOCAB = 1 << 18
# All fields, in one order: files that mean the same give the same model.
_BPE: dict[str, Any] = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
    "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {}, "merges": [],
}  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """``rows``: for each token, in the order of their bytes, its row in the checkpoint. ``start``: that of the token
    that starts a text, if there is one. ``lacking``: single bytes that the checkpoint has no token for.
    """

    kind: str
    json: str
    tokens: list[bytes]
    rows: list[int]
    start: int | None
    lacking: int = 0


def read(
    folder: Path, config: Config, rows: int, start: int | None = None, data: dict[str, Any] | None = None
) -> Vocabulary:
    """The vocabulary of a checkpoint with so many rows in its embedding. ``start``: the token that starts a text, where
    ``config`` does not say. ``data``: the content of tokenizer.json, if it is not in the folder.

    Raises:
        ModelError: there is no tokenizer, or none that can be used.
    """
    data = tokenizer_of(folder) if data is None else data
    try:
        return _read(folder, data, _start(config, rows, start), rows)
    except ModelError as exc:
        raise exc if str(exc).startswith(str(folder)) else ModelError(f"{folder}: {exc}") from exc
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as exc:
        raise ModelError(f"{folder}: its tokenizer cannot be read: a part is missing or odd ({exc!r:.200})") from exc


def _read(folder: Path, data: dict[str, Any], start: int | None, rows: int) -> Vocabulary:
    kind = _kind(data, folder)
    vocab = _vocab(data)
    every = data.get("added_tokens") or []
    kept = [t for t in every if not t.get("special", False) and str(t["content"]).isspace()]
    plain = [str(t["content"]) for t in kept]
    special = {str(t["content"]) for t in every} - {*plain, _unknown(data["model"])}
    ids = {text: index for text, index in vocab.items() if text not in special}
    ids |= {str(t["content"]): int(t["id"]) for t in kept}
    row: dict[bytes, int] = {}
    for token, index in entries(kind, ids, plain):
        row.setdefault(token, index)
    if not row:
        raise ModelError(f"{folder}: its tokenizer has no tokens")
    beyond = max(row.values())
    missing = [bytes([b]) for b in range(256) if bytes([b]) not in row]
    if min(row.values()) < 0 or beyond >= rows or len(row) + len(missing) > _MAX_VOCAB:
        raise ModelError(f"{folder}: {len(row)} tokens, numbered up to {beyond}, do not fit {rows} embeddings")
    named = {index for text, index in vocab.items() if text in special} | {int(t["id"]) for t in every}
    unused = _unused(rows, {*row.values(), start}, named)
    row |= {byte: unused[i % len(unused)] for i, byte in enumerate(missing)}
    tokens = sorted(row)
    text = json.dumps(_clean(data, kind, special, kept))
    tokenizer = TextTokenizer(text, kind)
    if tokenizer.tokens != tokens:
        raise ModelError(f"{folder}: the tokenizer cannot be had without its special tokens")
    tokenizer.check()
    return Vocabulary(kind, text, tokens, [row[t] for t in tokens], start, len(missing))


def _unused(rows: int, used: set[int | None], special: set[int]) -> list[int]:
    """Rows for bytes that are not tokens: such as training never saw in a text, so that they are given no share."""
    found = sorted(i for i in special if 0 <= i < rows and i not in used)
    return found or [next((i for i in range(rows) if i not in used), rows - 1)]


def tokenizer_of(folder: Path) -> dict[str, Any]:
    """The content of a folder's tokenizer.json, or what older files become.

    Raises:
        ModelError: there is no tokenizer, or none that can be read.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        if path.stat().st_size > MAX_JSON:
            raise ModelError(f"{path}: not a tokenizer: larger than {MAX_JSON >> 20} MiB")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except ValueError as exc:
            raise ModelError(f"{path}: not a tokenizer: {line(exc)}") from exc
    else:
        text = _converted(folder)
    try:
        data = json.loads(text)
    except RecursionError as exc:
        raise ModelError(f"{path}: not a tokenizer: nested too deeply") from exc
    except ValueError as exc:
        raise ModelError(f"{path}: not a tokenizer: {line(exc)}") from exc
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ModelError(f"{path}: not a tokenizer: no model in it")
    for name, kind in (("added_tokens", list), ("normalizer", dict), ("pre_tokenizer", dict)):
        if not isinstance(data.get(name), (kind, type(None))):
            raise ModelError(f"{path}: not a tokenizer: its {name} are of another type")
    return data


def _converted(folder: Path) -> str:
    """What transformers makes of older files (vocab.json and merges.txt, tokenizer.model)."""
    if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.model")):
        raise ModelError(
            f"{folder}: the tokenizer is missing: tokenizer.json, or vocab.json with merges.txt, or tokenizer.model"
        )
    try:
        from transformers import AutoTokenizer
        from transformers.utils import logging
    except ImportError as exc:
        raise MissingDependencyError("transformers", "pip install 'zllm[hf]'", "reading an older tokenizer") from exc
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it is wordy
    with guarded(f"{folder}: its tokenizer cannot be read: save it as tokenizer.json"), quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True, local_files_only=True)
        return str(tokenizer.backend_tokenizer.to_str())


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """A normaliser or pre-tokenizer, and all that are inside it."""
    if isinstance(part, dict):
        yield part
        for key in ("normalizers", "pretokenizers"):
            for inner in part.get(key) or ():
                yield from _parts(inner)


def _kind(data: dict[str, Any], folder: Path) -> str:
    model = data["model"].get("type") or "BPE"
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
        return {str(text): operator.index(index) for text, index in vocab.items()}
    return {str(entry[0]): index for index, entry in enumerate(vocab)}


def _clean(data: dict[str, Any], kind: str, special: set[str], kept: list[dict[str, Any]]) -> dict[str, Any]:
    """The tokenizer without special tokens and without what changes text."""
    model = dict(data["model"])
    model.setdefault("type", "BPE")
    if model["type"] == "BPE":
        vocab = {text: index for text, index in _vocab(data).items() if text not in special}
        model["vocab"] = {text: i for i, text in enumerate(sorted(vocab, key=vocab.__getitem__))}
        model["merges"] = [m for m in map(_pair, _merges(model)) if vocab.keys() >= {*m, "".join(m)}]
        model = {name: model.get(name, default) for name, default in _BPE.items()} | {"type": "BPE"}
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


def _merges(model: dict[str, Any]) -> list[Any]:
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise ModelError("its tokenizer is BPE, and has no merges: save it again with transformers")
    return merges


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


def _start(config: Config, rows: int, default: int | None) -> int | None:
    """The row of the token that a text starts with in training: its begin, else the end of the text before."""
    begin = config.token("bos_token_id", rows, default)
    return config.token("eos_token_id", rows, None) if begin is None else begin
