"""The words of a command line, read as getopt reads them, in a form that argparse cannot misunderstand.

argparse takes ``-19`` for ``-1 -9``, refuses values that begin with a dash, and what it makes of ``--`` differs from
one Python to the next. So options come out one by one, each value after its option and marked, then all operands,
marked too: a marked word is never an option.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from zllm.cli import suggestions

MARK = "\0\0"  # no argument can contain a NUL

_UNSET = ": is a variable unset?"
_MAY_BE_EMPTY = ("exclude", "origin")

Refuse = Callable[[str], NoReturn]


def plain(word: str) -> str:
    """``word`` without its mark."""
    return word.removeprefix(MARK)


def unmarking(convert: Any) -> Callable[[str], Any]:
    """An argparse type that converts a marked word by ``convert``; None converts nothing."""

    def converted(word: str) -> Any:
        try:
            return plain(word) if convert is None else convert(plain(word))
        except ValueError:
            kind = {int: "whole number", float: "number"}.get(convert, "valid value")
            raise argparse.ArgumentTypeError(f"'{plain(word)}' is not a {kind}") from None

    return converted


class Reader:
    """Reads the words of one command. ``options``: what each option is, by each of its names."""

    def __init__(self, options: Mapping[str, argparse.Action], refuse: Refuse) -> None:
        self.options = options
        self.refuse = refuse
        self._single: dict[str, str] = {}

    def __call__(self, words: Sequence[str]) -> list[str]:
        """Options and their values, then the operands."""
        found: list[str] = []
        operands: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                operands += [MARK + name for name in rest]
            elif word.startswith("--"):
                found += self._long(word, rest)
            elif word.startswith("-") and word != "-":
                found += self._cluster(word, rest)
            else:
                operands.append(word if word.startswith("\0") else MARK + word)
        if MARK in operands:
            self.refuse(f"a name is empty{_UNSET}")
        return found + operands

    def _long(self, word: str, rest: Iterator[str]) -> list[str]:
        name, equals, value = word.partition("=")
        action = self.options.get(name)
        if action is None:
            self.refuse(suggestions.unknown_option(name, self.options))
        if action.nargs == 0:
            if equals:
                self.refuse(f"{name} takes no value")
            return [name]
        return self._with_value(name, action, value if equals else None, rest)

    def _cluster(self, word: str, rest: Iterator[str]) -> list[str]:
        """Letters and digits behind one dash; the first that takes a value has what is behind it, or the next word."""
        found: list[str] = []
        for place, letter in enumerate(word[1:], 2):
            name = "-" + letter
            action = self.options.get(name)
            if action is None or _many_digits(word[place - 1 :]):
                whole = not found or "-" + word in self.options  # -verbose is --verbose, not an unknown -e
                self.refuse(suggestions.unknown_option(word if whole else name, self.options))
            if action.nargs != 0:
                return found + self._with_value(name, action, word[place:] or None, rest)
            found.append(name)
        return found

    def _with_value(self, name: str, action: argparse.Action, value: str | None, rest: Iterator[str]) -> list[str]:
        if value is None:
            value = next(rest, None)
        if value is None:
            self.refuse(f"{name} needs a value")
        if not value and action.dest not in _MAY_BE_EMPTY and (action.type is None or isinstance(action.type, type)):
            self.refuse(f"{name}: the value is empty{_UNSET}")
        if action.dest in ("file", "output") and self._single.setdefault(action.dest, value) != value:
            self.refuse(f"{name} is given twice, for '{self._single[action.dest]}' and '{value}'")
        return [name, MARK + value]


def _many_digits(letters: str) -> bool:
    # -19 is a level to zstd; it is not -1 -9 here.
    return re.match("[0-9]{2}", letters) is not None
