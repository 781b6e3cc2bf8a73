"""Shell patterns over member names, as GNU tar reads them for ``--exclude``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable


def excluded(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern matches ``name``, or its end after any ``/``. ``*`` also matches ``/``."""
    parts = name.split("/")
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return any(fnmatch.fnmatchcase(tail, pattern) for pattern in patterns for tail in tails)


def selected(name: str, operand: str) -> bool:
    """Whether ``operand`` asks for ``name``: by its name, that of a folder above it, or a pattern."""
    if name == operand or name.startswith(operand + "/"):
        return True
    return any(char in operand for char in "*?[") and fnmatch.fnmatchcase(name, operand)
