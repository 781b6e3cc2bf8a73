"""Tokens of any bytes by tokenizers that were made for text."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st
from importing import hub

from zllm.errors import ModelError
from zllm.models.importing import vocabulary
from zllm.models.importing.config import Config
from zllm.models.texttokenizer import TextTokenizer, alphabet, token_bytes


def made(text: str, tmp_path: Any, rows: int = 10**6) -> vocabulary.Vocabulary:
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    return vocabulary.read(tmp_path, Config(tmp_path / "config.json", {"bos_token_id": 0}), rows)


def unigram() -> str:
    """SentencePiece's Unigram with tokens for bytes, and pre-tokenizers that change text."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581the", "\u2581", "the", "e", "t",
              "\u2581\u2581", "an", "\u2581an", "ü"]  # fmt: skip
    scores = [0.0] * 3 + [-20.0] * 256 + [-3.0, -4.0, -4.0, -5.0, -5.0, -4.5, -4.0, -3.5, -6.0]
    added = [{"id": i, "content": pieces[i], "single_word": False, "lstrip": i == 1, "rstrip": False,
              "normalized": False, "special": True} for i in range(3)]  # fmt: skip
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": list(zip(pieces, scores, strict=True)),
                  "byte_fallback": True},
    })  # fmt: skip


def neox_spaces() -> str:
    """Byte-level BPE with added tokens: special ones, others, and runs of spaces."""
    data = json.loads(hub.byte_level())
    at = len(data["model"]["vocab"])
    for content in ("   ", "      ", "<tool>"):
        data["added_tokens"].append({"id": at, "content": content, "single_word": False, "lstrip": False,
                                     "rstrip": content == "<tool>", "normalized": True, "special": False})  # fmt: skip
        at += 1
    data["pre_tokenizer"]["add_prefix_space"] = True
    return json.dumps(data)


TOKENIZERS = {"bytelevel": hub.byte_level, "sentencepiece": hub.sentence_piece, "unigram": unigram, "neox": neox_spaces}
PIECES = ["the ", "\u2581", "<s>", "</s>", "<unk>", "<|endoftext|>", "<tool>", "<0x41>", "\r\n", "   ", "e\u0301",
          "ﬁ", "\u00a0", "ü", "漢字", "🦆", "\ufeff", "\0", "\x85", "function(x) {\n", "x" * 300]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=9)), max_size=30).map("".join)
BYTES = st.one_of(
    st.binary(max_size=300),
    TEXTS.map(str.encode),
    st.tuples(TEXTS, st.binary(min_size=1, max_size=5), TEXTS).map(lambda t: t[0].encode() + t[1] + t[2].encode()),
)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextTokenizer]:
    found = {name: made(make(), tmp_path_factory.mktemp(name)) for name, make in TOKENIZERS.items()}
    return {name: TextTokenizer(words.json, words.kind) for name, words in found.items()}


@settings(max_examples=400, deadline=None)
@given(data=BYTES)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_bytes_come_back(name: str, data: bytes, tokenizers: dict[str, TextTokenizer]) -> None:
    tokenizer = tokenizers[name]
    ids = tokenizer.encode(data)
    assert tokenizer.decode(ids) == data
    assert all(0 <= i < len(tokenizer.tokens) for i in ids)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_long_and_broken_data_comes_back(name: str, tokenizers: dict[str, TextTokenizer]) -> None:
    text = hub.text().encode()[:200_000]
    parts = [text, bytes(range(256)) * 200, b"\xf0\x9f\xa6" * 9000, "\u2581 ".encode() * 9000, b""]
    coded = tokenizers[name].encode_batch(parts)
    assert [tokenizers[name].decode(ids) for ids in coded] == parts


@pytest.mark.parametrize("name", ["bytelevel", "sentencepiece", "neox"])
def test_text_has_the_tokens_that_it_was_trained_with(name: str, tokenizers: dict[str, TextTokenizer]) -> None:
    data = hub.text().encode()[:100_000]
    assert len(tokenizers[name].encode(data)) < 0.6 * len(data)


def test_a_special_token_in_a_text_costs_its_neighbours_only(tokenizers: dict[str, TextTokenizer]) -> None:
    plain = hub.text()[:20_000]
    strange = plain[:10_000] + "\u2581" + plain[10_000:]
    tokenizer = tokenizers["sentencepiece"]
    assert len(tokenizer.encode(strange.encode())) < len(tokenizer.encode(plain.encode())) + 40


def test_special_tokens_are_no_tokens_and_runs_of_spaces_are(tmp_path: Any) -> None:
    tokens = made(neox_spaces(), tmp_path).tokens
    assert b"<|endoftext|>" not in tokens and b"<tool>" not in tokens
    assert b"   " in tokens and b"      " in tokens


def test_equal_tokens_are_kept_once_and_not_as_bytes(tmp_path: Any) -> None:
    data = json.loads(hub.sentence_piece())
    words = made(json.dumps(data), tmp_path)
    rows = dict(zip(words.tokens, words.rows, strict=True))
    assert len(set(words.tokens)) == len(words.tokens)
    assert rows[b"e"] == data["model"]["vocab"]["e"] != data["model"]["vocab"]["<0x65>"]
    assert rows[b"\xff"] == data["model"]["vocab"]["<0xFF>"]


def test_the_alphabet_of_bytes() -> None:
    assert sorted(alphabet().values()) == list(range(256))
    assert token_bytes("bytelevel", "\u0120the\u010a") == b" the\n"
    assert token_bytes("bytelevel", "<|漢|>") is None
    assert token_bytes("sentencepiece", "<0x0A>") == b"\n"
    assert token_bytes("sentencepiece", "\u2581the") == b" the"


def test_bytes_that_a_vocabulary_lacks_get_rows_that_no_text_has(tmp_path: Any) -> None:
    """Real SmolLM2 lacks 21."""
    data = json.loads(hub.sentence_piece())
    for name in ("<0xFE>", "<0x00>", "<0xC3>"):
        del data["model"]["vocab"][name]
    words = made(json.dumps(data), tmp_path)
    rows = dict(zip(words.tokens, words.rows, strict=True))
    assert words.lacking == 3 and {bytes([b]) for b in range(256)} <= set(words.tokens)
    assert [rows[b] for b in (b"\0", b"\xc3", b"\xfe")] == [1, 2, 1]  # <s> and </s>; <unk> starts texts
    tokenizer = TextTokenizer(words.json, words.kind)
    assert tokenizer.tokens == words.tokens
    every = bytes(range(256)) + "Käse".encode()
    assert tokenizer.decode(tokenizer.encode(every)) == every


def test_without_special_tokens_an_unused_row_is_taken(tmp_path: Any) -> None:
    data = json.loads(hub.byte_level())
    data["added_tokens"] = []
    lost = data["model"]["vocab"].pop("\u0100")
    words = made(json.dumps(data), tmp_path)
    assert words.rows[0] == lost and words.tokens[0] == b"\0"  # 0 is <|endoftext|>, which starts texts


def test_more_tokens_than_embeddings_are_refused(tmp_path: Any) -> None:
    with pytest.raises(ModelError, match="do not fit 300 embeddings"):
        made(hub.byte_level(), tmp_path, rows=300)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a tokenizer"),
        ("[]", "not a tokenizer"),
        ('{"model": {"type": "WordPiece", "vocab": {}}}', "WordPiece are not supported"),
    ],
)
def test_other_tokenizers_are_refused(text: str, says: str, tmp_path: Any) -> None:
    with pytest.raises(ModelError, match=says):
        made(text, tmp_path)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ModelError, match="kind 'other'"):
        TextTokenizer(hub.byte_level(), "other")
