"""Whatever a model's tokenizer does to text, no text is lost: it is refused, or what it changes becomes bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from models import tiny

from zllm.codecs.llm import LlmCodec
from zllm.errors import ModelError
from zllm.models import store, verify, zlm
from zllm.models.library import PROBES, line
from zllm.models.texttokenizer import TextTokenizer
from zllm.models.tokenizer import BytesTokenizer

JSON = json.loads(tiny.tokenizer_json(300)[0])
TRUNCATION = {"direction": "Right", "strategy": "LongestFirst"}
ADDED = {"id": 300, "content": "the", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True,
         "special": False}  # fmt: skip
STRANGE: dict[str, dict[str, Any]] = {
    "lower case": {"normalizer": {"type": "Lowercase"}},
    "strip": {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
    "prepend": {"normalizer": {"type": "Prepend", "prepend": " "}},
    "nothing": {"normalizer": {"type": "Sequence", "normalizers": []}},
    "truncation": {"truncation": {**TRUNCATION, "max_length": 3, "stride": 0}},
    "truncation that panics": {"truncation": {**TRUNCATION, "max_length": 1, "stride": 1}},
    "padding": {"padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                            "pad_type_id": 0, "pad_token": "a"}},
    "spaces dropped": {"pre_tokenizer": {"type": "WhitespaceSplit"}},
    "a space in front": {"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always",
                                           "split": False}},
    "signs dropped": {"pre_tokenizer": {"type": "Split", "pattern": {"String": "q"}, "behavior": "Removed",
                                        "invert": False}},
    "bytes as letters": {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                           "use_regex": True}},
    "an added token that strips": {"added_tokens": [{**ADDED, "lstrip": True}]},
    "random": {"model": {**JSON["model"], "dropout": 0.5}},
    "numbers without end": {"model": {**JSON["model"], "vocab": {**JSON["model"]["vocab"], "ab": 2**31}}},
    "a bad regex": {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated",
                                      "invert": False}},
    "a panic": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "no model": {"model": None},
    "no merges": {"model": {"type": "BPE", "vocab": {"a": 0}}},
    "odd added tokens": {"added_tokens": {"a": 1}},
}  # fmt: skip


def model_with(path: Path, text: str) -> Path:
    description, tensors = tiny.tensors_of()
    data = text.encode()
    zlm.write(path, description, {**tensors, "tokenizer.json": ("U8", (len(data),), memoryview(data))})
    return path


@pytest.mark.parametrize("name", STRANGE)
def test_refused_wherever_it_comes(name: str, tmp_path: Path, capfd: Any) -> None:
    path = model_with(tmp_path / "a.zlm", json.dumps({**JSON, **STRANGE[name]}))
    for use in (lambda: store.load(path).tokenizer, lambda: verify.verify(path), lambda: store.add(path)):
        with pytest.raises(ModelError, match=r"tokenizer|single byte") as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1 and str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"model": "\\ud800"}', "null", ""])
def test_what_is_no_tokenizer_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its tokenizer"):
        store.load(model_with(tmp_path / "a.zlm", text)).tokenizer  # noqa: B018


def test_one_line_and_no_panic_on_the_command_line(tmp_path: Path) -> None:
    path = model_with(tmp_path / "a.zlm", json.dumps({**JSON, **STRANGE["a panic"]}))
    (tmp_path / "a.txt").write_text("Some words of a text. " * 300)
    env = {**os.environ, "ZLLM_HOME": str(tmp_path / "home")}
    for words in (["model", "import", path], ["model", "verify", path]):
        done = subprocess.run(
            [sys.executable, "-m", "zllm", *words], check=False, env=env, capture_output=True, text=True
        )
        assert done.returncode in (2, 3)
        assert len(done.stderr.splitlines()) == 1 and "failed inside" in done.stderr, done.stderr


class Sly:
    """A library's tokenizer that changes text, after it was found to be right."""

    def __init__(self, tokenizer: Any, change: Any) -> None:
        self.encode_batch, self.change = tokenizer._batch, change

    def __call__(self, texts: list[str], **how: Any) -> Any:
        return self.encode_batch([self.change(text) for text in texts], **how)


CHANGES = {
    "lower case": str.lower,
    "strip": str.strip,
    "short": lambda text: text[:50],
    "nothing": lambda text: "",
    "more": lambda text: text + " ",
    "without a word": lambda text: text.replace("word", ""),
}
TEXT = b"  A Word of Text, and one more word. \r\n" * 40 + bytes(range(256)) + "Käse, 漢字 ".encode() * 9


@pytest.mark.parametrize("name", CHANGES)
def test_text_comes_back_from_a_tokenizer_that_changes_it(name: str) -> None:
    made = store.parse(_tiny_bytes(), Path("tiny"))
    tokenizer = made.tokenizer
    assert isinstance(tokenizer, BytesTokenizer)
    tokenizer._batch = Sly(tokenizer, CHANGES[name])
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    codec = LlmCodec(made)
    assert codec.decode(codec.encode(TEXT, [100, 900]), len(TEXT), [100, 900]) == TEXT
    if name == "without a word":  # costs only what it changes
        assert len(tokenizer.encode(TEXT)) < 1.6 * len(made_tokens(TEXT))


def _tiny_bytes() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return tiny.write(Path(folder) / "a.zlm").read_bytes()


def made_tokens(data: bytes) -> list[int]:
    return BytesTokenizer(json.dumps(JSON)).encode(data)


def test_a_panic_while_coding_is_an_error_of_one_line() -> None:
    class PanicException(BaseException):
        pass

    def panic(texts: list[str], **_how: Any) -> Any:
        raise PanicException("index out of range\nnote: run with RUST_BACKTRACE=1")

    tokenizer = BytesTokenizer(json.dumps(JSON))
    tokenizer._batch = panic
    with pytest.raises(ModelError, match=r"failed inside \(index out of range\)$"):
        tokenizer.encode(b"text")

    def interrupt(texts: list[str], **_how: Any) -> Any:
        raise KeyboardInterrupt

    tokenizer._batch = interrupt
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(b"text")


def test_stderr_is_what_it_was_after_many_threads_loaded_models(tmp_path: Path, capfd: Any) -> None:
    good, bad = (json.dumps({**JSON, **change}) for change in ({}, STRANGE["a panic"]))
    failed: list[str] = []

    def load(text: str) -> None:
        try:
            BytesTokenizer(text).check()
        except ModelError as exc:
            failed.append(str(exc))

    threads = [threading.Thread(target=load, args=(text,)) for text in (good, bad) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here")
    assert len(failed) == 6 and capfd.readouterr().err == "still here"


def test_good_ones_pass(tmp_path: Path) -> None:
    BytesTokenizer(json.dumps(JSON)).check()
    for name in ("default", "fast"):
        tokenizer = store.resolve(name).tokenizer
        assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(PROBES)] == list(PROBES)


def test_single_bytes_that_a_vocabulary_lacks_are_tokens() -> None:
    """Real SmolLM2 lacks 21."""
    letters = "abcdefghijklmnopqrstuvwxyz ATF,.12345Ġ"
    model = {"type": "BPE", "vocab": {c: i for i, c in enumerate(letters)}, "merges": []}
    text = json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                       "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                         "use_regex": True},
                       "post_processor": None, "decoder": None, "model": model})  # fmt: skip
    tokenizer = TextTokenizer(text.replace('" "', '"_"'), "bytelevel")
    assert {bytes([b]) for b in range(256)} <= set(tokenizer.tokens)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def test_messages_are_one_line() -> None:
    assert line(ValueError("\n a\nb")) == "a"
    assert line(ValueError()) == "ValueError"
    assert len(line(ValueError("x" * 10**6))) < 400
