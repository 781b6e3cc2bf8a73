"""Checks a model file as a whole: its hash, its structure, and the numbers that it computes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from zllm.errors import MissingDependencyError, ModelError
from zllm.models import folder, store, zlm
from zllm.models.store import Model

_CARD_ANSWER = re.compile(r"known answer \| `([0-9a-f]{64})`")


class OtherArithmeticError(ModelError):
    """The file may be whole, but it is for another version of the arithmetic, so that no known answer can be had."""


def verify(path: Path, known_answers: Iterable[str] = ()) -> list[str]:
    """Read a model file and check all of it; gives back what could not be checked, and why.

    ``known_answers``, hexadecimal, are what it must give.

    Raises:
        OtherArithmeticError: it is for another version of the arithmetic.
        ModelError: something is wrong with it.
        OSError: it cannot be read.
    """
    from zllm import _native

    file = zlm.read(path)
    expected = folder.sha256_of(path)
    if expected and file.sha256.hex() != expected:
        raise ModelError(f"{path}: damaged: its content has the hash {file.sha256.hex()}")
    arithmetic = file.description["arithmetic"]
    if arithmetic != _native.ARITHMETIC_VERSION:
        raise OtherArithmeticError(
            f"{path}: for arithmetic version {arithmetic}, this program computes version {_native.ARITHMETIC_VERSION}"
        )
    model = Model(path, file)
    answer = model.known_answer.hex()
    if any(known and known != answer for known in known_answers):
        raise ModelError(f"{path}: it computes other numbers than it should (known answer {answer})")
    try:
        model.tokenizer  # noqa: B018 - made, and compared with the token table
    except MissingDependencyError as exc:
        return [f"its tokenizer was not checked: {exc}"]
    return []


def known_answers(path: Path) -> list[str]:
    """What is on record for a file: in its names, or in the card of a built-in model."""
    if path.parent == store.DATA_FOLDER:
        card = path.with_suffix(".md")
        return _CARD_ANSWER.findall(card.read_text(encoding="utf-8")) if card.exists() else []
    sha256 = folder.sha256_of(path)
    return [what.known_answer for what in folder.names().values() if what and sha256 and what.sha256 == sha256]
