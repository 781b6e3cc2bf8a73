"""What a member's data is, as archives note it for listings and codecs declare it."""

from __future__ import annotations

from enum import IntEnum


class Category(IntEnum):
    """The numbers are in archives and are never reused."""

    TEXT = 0
    STRUCTURED = 1
    TENSOR = 2
    AUDIO = 3
    COMPRESSED = 4
    BINARY = 5
    IMAGE = 6


TEXTS = frozenset({Category.TEXT, Category.STRUCTURED})
NOT_TEXT = frozenset(Category) - TEXTS
