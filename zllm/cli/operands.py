"""What stands behind ``zllm create``: names, ``-C`` and ``-T`` in their order, which has a meaning, as in tar."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import fsdecode

from zllm.cli.output import Console, printable
from zllm.errors import UsageError

_FOLDER_LINE = re.compile(rb"(?:-C[ \t]*|--directory(?:=|[ \t]+))(.+)", re.DOTALL)


@dataclass(frozen=True)
class Name:
    """Something to pack."""

    text: str


@dataclass(frozen=True)
class Folder:
    """``-C``: the names after it are looked up in this folder, which is itself looked up in the one before."""

    text: str


@dataclass(frozen=True)
class NameList:
    """``-T``: a file with names, or ``-`` for stdin."""

    text: str


Operand = Name | Folder | NameList
_POSITIONAL: dict[str, type[Folder] | type[NameList]] = {
    "-C": Folder,
    "--directory": Folder,
    "-T": NameList,
    "--files-from": NameList,
}


def split(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[Operand]]:
    """The options of ``argv`` whose place has no meaning, and everything else in order.

    Raises:
        UsageError: an option that needs a value has none, or a name is empty.
    """
    with_value = {option: action.nargs != 0 for action in parser._actions for option in action.option_strings}
    options: list[str] = []
    operands: list[Operand] = []
    rest = iter(argv)
    for word in rest:
        if word == "--":
            operands += [Name(name) for name in rest]
        elif word == "-" or not word.startswith("-"):
            operands.append(Name(word))
        else:
            flags, option, value = _option(word, with_value)
            if option and value is None:
                value = next(rest, None)
            options += [flags] if flags else []
            if option in _POSITIONAL:
                operands.append(_POSITIONAL[option](_needed(option, value)))
            elif option:
                options += [option] if value is None else [f"{option}={value}" if option[1] == "-" else option + value]
    for operand in operands:
        if not operand.text:
            raise UsageError("a name is empty: is a variable unset?")
    return options, operands


def _option(word: str, with_value: dict[str, bool]) -> tuple[str, str, str | None]:
    """``word`` as flags before an option that takes a value, that option, and the part of its value that is in it."""
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        if not with_value.get(option, False):
            return word, "", None
        return "", option, value if equals else None
    for place, letter in enumerate(word[1:], 1):
        if with_value.get(f"-{letter}", False):
            return word[:place] if place > 1 else "", f"-{letter}", word[place + 1 :] or None
    return word, "", None


def _needed(option: str, value: str | None) -> str:
    if value is None:
        raise UsageError(f"{option} needs a {'folder' if _POSITIONAL[option] is Folder else 'file'}")
    return value


def expand(
    operands: Iterable[Operand], console: Console, *, null: bool = False, verbatim: bool = False
) -> Iterator[Name | Folder]:
    """``operands`` with the contents of the lists in the lists' places. Raises OSError for a list that cannot be read.

    As in GNU tar a line ``-C FOLDER`` of a list is not a name, unless ``verbatim`` or ``null`` is true.
    """
    for operand in operands:
        if not isinstance(operand, NameList):
            yield operand
            continue
        data = read(operand.text)
        if b"\0" in data and not null:
            what = f"{printable(operand.text)} contains NUL bytes: its names are taken to end with them"
            console.warn(f"{what}, as with --null")
        split_by_null = null or b"\0" in data
        for line in data.split(b"\0" if split_by_null else b"\n"):
            folder = None if verbatim or split_by_null else _FOLDER_LINE.fullmatch(line)
            if folder is not None:
                yield Folder(fsdecode(folder[1]))
            elif line:
                yield Name(fsdecode(line))


def read(name: str) -> bytes:
    """All of a file; ``-`` is stdin. Raises OSError."""
    if name == "-":
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        return file.read()


def lines_of_patterns(name: str) -> list[str]:
    """The patterns in the file of ``-X``: one a line; blanks and CRs at their ends are not part of them, as in tar."""
    return [fsdecode(pattern) for line in read(name).split(b"\n") if (pattern := line.rstrip())]
