"""Shell patterns over names, as GNU tar reads them for ``--exclude``: ``*`` and ``?`` also match ``/``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": r"\x21-\x7e", "lower": "a-z", "print": r"\x20-\x7e", "punct": r"!-/:-@\[-`{-~", "space": r"\s",
    "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip
VERSION_CONTROL = (
    "CVS", "RCS", "SCCS", ".git", ".gitignore", ".gitattributes", ".gitmodules", ".cvsignore", ".svn", ".arch-ids",
    "{arch}", "=RELEASE-ID", "=meta-update", "=update", ".bzr", ".bzrignore", ".bzrtags", ".hg", ".hgignore", ".hgtags",
    "_darcs",
)  # fmt: skip
"""What ``--exclude-vcs`` leaves out: the names in GNU tar's manual."""
_MAGIC = re.compile(r"[*?\[\\]")


class Excluded:
    """What to leave out: names that a pattern matches as a whole or from any ``/`` on, and everything below them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        texts = [text for pattern in patterns if (text := pattern.rstrip("/"))]
        alternatives = "|".join(_expression(text, f"p{number}_") for number, text in enumerate(texts))
        self._search = re.compile(rf"(?:\A|/)(?:{alternatives})(?=/|\Z)", re.DOTALL).search if texts else None

    def __call__(self, name: str) -> bool:
        """Whether ``name`` is left out."""
        return self._search is not None and self._search(name) is not None


def is_pattern(operand: str) -> bool:
    """Whether ``operand`` can ask for anything but the member of that very name."""
    return _MAGIC.search(operand) is not None


def named(name: str, operand: str) -> bool:
    """Whether ``operand`` is the name of the member, or of a folder above it."""
    return name == operand or name.startswith(operand + "/")


def matches(name: str, pattern: str) -> bool:
    """Whether ``pattern`` matches ``name``, or the name of a folder above it."""
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{_expression(pattern, 'g')})(?=/|\Z)", re.DOTALL)


def _expression(pattern: str, prefix: str) -> str:
    """The regular expression for ``pattern``; its groups have names that start with ``prefix``.

    What stands between two stars is found where it first occurs, and never looked for again: in time linear in the
    name for each star, where plain backtracking takes a power of it.
    """
    first, *others = _split(pattern)
    if not others:
        return first
    middle = [part for part in others[:-1] if part]
    found = (f"(?=(?P<{prefix}{number}>.*?{part}))(?P={prefix}{number})" for number, part in enumerate(middle))
    return f"{first}{''.join(found)}.*{others[-1]}"


def _split(pattern: str) -> list[str]:
    """Regular expressions for what is between the stars of ``pattern``."""
    parts = [""]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "[" and (bracket := _bracket(pattern, position)) is not None:
            text, position = bracket
            parts[-1] += text
        else:
            if char == "\\" and position < len(pattern):
                char = pattern[position]
                position += 1
            parts[-1] += re.escape(char)
    return parts


def _bracket(pattern: str, position: int) -> tuple[str, int] | None:
    """The set that starts after the ``[`` before ``position``, and where it ends; None if nothing closes it."""
    negated = pattern[position : position + 1] in ("!", "^")
    position += negated
    start, items = position, ""
    while pattern[position : position + 1] != "]" or position == start:
        if position >= len(pattern):
            return None
        if match := re.compile(r"\[:(\w+):\]").match(pattern, position):
            items += _CLASSES.get(match[1], "")
            position = match.end()
            continue
        low, position = _char(pattern, position)
        high = low
        if pattern[position : position + 1] == "-" and pattern[position + 1 : position + 2] not in ("", "]"):
            high, position = _char(pattern, position + 1)
        if low <= high:
            items += f"{re.escape(low)}-{re.escape(high)}"
    if not items:
        return ("." if negated else r"(?!)"), position + 1
    return f"[{'^' if negated else ''}{items}]", position + 1


def _char(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position] == "\\" and position + 1 < len(pattern):
        position += 1
    return pattern[position], position + 1
