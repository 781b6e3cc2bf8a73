"""The ``tokenizers`` library: opened for settings that change no text, tried before it is used, and never trusted.

Archives are lossless because tokens are compared with their text (``tokenizer.py``, ``texttokenizer.py``), whatever the
library does. What is refused here would only make every text cost a byte a token, or end the process: the library is
written in Rust, prints to stderr when it panics, and its panics are not an ``Exception`` in Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

from zllm.errors import MissingDependencyError, ModelError

SPACE = "\u2581"
LATIN1 = "latin1"  # the kind whose text is bytes as Latin-1 characters; the others read UTF-8
MAX_ID = 1 << 22  # of a vocabulary's entries: there are holes, and a list by number
MAX_JSON = 256 << 20
_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
# Every script and habit that a text may have. Pieces by a tokenizer of Latin-1 characters must be these very bytes.
PROBES: tuple[bytes, ...] = (
    b"The quick brown Fox, and 12345 of the Lazy dogs, jumped over it.",
    b"  Two  and   more spaces, before and behind.   ",
    b"one\r\ntwo\r\n\r\n\tthree\n\n\n  four \x0b\x0c five\r",
    *(b" " * n for n in (1, 2, 3, 4, 7, 8, 15, 16, 31, 64, 129)),
    b"a" * 400, b"\n" * 90, b"\t" * 30, b"0" * 90, b"=" * 90, b"ab" * 200,
    "Caf\u00e9 Cafe\u0301 \ufb01ne \u212b \u00a0 \u2003 \u3000 \ufeff \u200b stra\u00dfe \u0130I\u0131 \u01c5".encode(),
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627".encode(),
    "\u6f22\u5b57\u304b\u306a \ud55c\uae00 \U0001f986\U0001f468\u200d\U0001f469".encode(),
    f"a{SPACE}b {SPACE} {SPACE}{SPACE}".encode(),
    b"<s></s><unk><pad>[UNK][CLS] [SEP] <|endoftext|> <|im_start|><0x41><0xFF>",
    bytes(range(256)), bytes(range(255, -1, -1)), b"\0\0\0", b"\xff\xfe\xf0\x9f\xa6", b"\xc3", b"\x80abc\xc3\xa9",
)  # fmt: skip
PROSE = PROBES[0].decode()
_INSTALL = "pip install 'zllm[pack]', or pack without the model, by --no-llm or levels 1 to 5"
_stderr = threading.RLock()


def library() -> Any:
    """The library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as exc:
        raise MissingDependencyError("tokenizers", _INSTALL, "coding text with a model") from exc
    return tokenizers


def opened(text: str, kind: str) -> tuple[Any, dict[str, Any], dict[str, int]]:
    """The library's tokenizer for a ``tokenizer.json``, that file's content, and its vocabulary with added tokens.

    Raises:
        ModelError: the library cannot read it, or it has settings that change text.
    """
    data = _parsed(text)
    if problem := _problem(data, kind):
        raise ModelError(f"its tokenizer changes text: {problem}")
    with guarded("its tokenizer cannot be read"), quiet():
        made = library().Tokenizer.from_str(text)
        vocab: dict[str, int] = made.get_vocab(with_added_tokens=True)
    if max(vocab.values(), default=0) >= MAX_ID:
        raise ModelError(f"its tokenizer has tokens with numbers of {MAX_ID} and more")
    return made, data, vocab


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MAX_JSON:
        raise ModelError(f"its tokenizer is larger than {MAX_JSON >> 20} MiB")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ModelError(f"its tokenizer is not JSON that can be read: {line(exc)}") from exc
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ModelError("its tokenizer has no model")
    if not isinstance(data.get("added_tokens") or [], list):
        raise ModelError("its tokenizer's added_tokens are not a list")
    return data


def _problem(data: dict[str, Any], kind: str) -> str:
    """Which setting makes tokens that are not the text's; empty if none does."""
    for name in ("truncation", "padding"):
        if data.get(name) is not None:
            return f"it has {name}"
    normalizer = data.get("normalizer")
    if normalizer is not None and not (kind == "sentencepiece" and normalizer == _SPACES):
        what = normalizer.get("type") if isinstance(normalizer, dict) else normalizer
        return f"it has a normalizer ({what})"
    if data["model"].get("dropout"):
        return "it is random (dropout)"
    for token in data.get("added_tokens") or ():
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            return "an added token has no text"
        if token.get("lstrip") or token.get("rstrip"):
            return f"the added token {token['content']!r} takes the spaces beside it"
    return ""


@contextlib.contextmanager
def guarded(purpose: str) -> Iterator[None]:
    """Turns what the library raises, panics among it, into a :class:`ModelError` of one line."""
    try:
        yield
    except (ModelError, MissingDependencyError, MemoryError):
        raise
    except Exception as exc:  # the library has no class of its own for its errors
        raise ModelError(f"{purpose}: {line(exc)}") from exc
    except BaseException as exc:
        if not is_panic(exc):
            raise
        raise ModelError(f"{purpose}: the tokenizers library failed inside ({line(exc)})") from None


def is_panic(error: BaseException) -> bool:
    """Whether it is what a panic of a library in Rust is in Python."""
    return type(error).__name__ == "PanicException"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What a panic prints to stderr is dropped: the error that comes of it says more. What other threads print
    meanwhile is written when the block ends well."""
    with _stderr:  # of two threads, one would put back what the other has put in place
        try:
            saved = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        kept = os.memfd_create("stderr") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(kept, 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
            _copy(kept, saved)
        finally:
            os.close(saved)
            os.close(kept)


def _copy(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        os.lseek(source, 0, os.SEEK_SET)
        while block := os.read(source, 1 << 16):
            os.write(target, block)


def line(error: BaseException) -> str:
    """The first line of an error's text, or its name, not longer than a line should be."""
    text = next((one.strip() for one in str(error).splitlines() if one.strip()), type(error).__name__)
    return text if len(text) <= 300 else text[:300] + "..."
