"""The tokenizer in a GGUF file's metadata, as the tokenizer.json that it was made of."""

from __future__ import annotations

import json
from typing import Any

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.importing.ggufile import GgufFile
from zllm.models.library import guarded, quiet

_NORMAL, _BYTE = 1, 6  # kinds of tokens; the others are special, added or unused
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST


def _by_bytes(*, regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex}


def _split(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _by_bytes(regex=False)]}


_GPT2 = _by_bytes(regex=True)
_DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2]}
# ``tokenizer.ggml.pre``: how text is cut before pairs are merged.
PRE_TOKENIZERS = {
    **dict.fromkeys(("default", "gpt-2", "olmo", "phi-2", "mpt", "stablelm2", "trillion"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "command-r", "exaone", "minerva-7b"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "dbrx", "falcon3"), _split(_LLAMA3)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _split(_QWEN2)),
}


def read(file: GgufFile) -> dict[str, Any]:
    """What would be in tokenizer.json.

    Raises:
        ModelError: there is none, or none that is supported.
        MissingDependencyError: it is SentencePiece's, and transformers, which converts it, is not installed.
    """
    kind = file.fields.get("tokenizer.ggml.model")
    tokens = file.fields.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise ModelError(f"{file.path}: the tokenizer is missing: its metadata have no tokens")
    if kind == "gpt2":
        return _pairs(file, tokens)
    if kind == "llama":
        return _sentencepiece(file, tokens)
    raise ModelError(f"{file.path}: tokenizers of the kind {kind!r:.60} are not supported: only gpt2 and llama")


def _pairs(file: GgufFile, tokens: list[str]) -> dict[str, Any]:
    pre = file.fields.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise ModelError(
            f"{file.path}: texts cut as by {pre!r:.60} (tokenizer.ggml.pre) are not supported: import the folder in "
            "Hugging Face layout that it was made of"
        )
    merges = file.fields.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, str) and " " in merge for merge in merges):
        raise ModelError(f"{file.path}: its tokenizer has no merges")
    added = _added(file, tokens)
    vocab = {token: i for i, token in enumerate(tokens)}
    model = {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": None, "dropout": None}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "model": model,
    }


def _added(file: GgufFile, tokens: list[str]) -> list[dict[str, Any]]:
    """Tokens that no text is made of; those of white space are kept, which GPT-NeoX has."""
    kinds = file.fields.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise ModelError(f"{file.path}: its tokenizer has {len(tokens)} tokens, and types of another number of them")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": i, "content": token, **plain, "special": not token.isspace()}
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind not in (_NORMAL, _BYTE)
    ]


def _sentencepiece(file: GgufFile, tokens: list[str]) -> dict[str, Any]:
    """By transformers, which makes merges of the scores."""
    try:
        from transformers import AutoTokenizer
        from transformers.utils import logging
    except ImportError as exc:
        what = "reading a GGUF file's tokenizer of this kind"
        raise MissingDependencyError("transformers", "pip install 'zllm[hf]'", what) from exc
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it is wordy
    with guarded(f"{file.path}: its tokenizer cannot be read"), quiet():
        made = AutoTokenizer.from_pretrained(
            str(file.path.parent), gguf_file=file.path.name, local_files_only=True, trust_remote_code=False
        )
        data: dict[str, Any] = json.loads(made.backend_tokenizer.to_str())
    return {**data, "added_tokens": _added(file, tokens)}
