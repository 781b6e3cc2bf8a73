"""Names are bytes: members' are read as UTF-8, arguments as the locale has it, and the same bytes are the same name."""

from __future__ import annotations

import os


def of_member(argument: str) -> str:
    """An argument as the name of a member: what the same bytes are in UTF-8, whatever the locale."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def to_bytes(member: str) -> bytes:
    """A member's name as bytes."""
    try:
        return member.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which no bytes of a file name are read as
        return member.encode("utf-8", "surrogatepass")
