"""Text that is not UTF-8: does it read as text in another encoding? That decides about its neighbours, and that the
model is not asked, which has read UTF-8 only. Nothing is converted; a wrong answer costs some bytes.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

_HEAD = 8 << 10
"""Bytes that are decoded: enough to tell, in about a millisecond an encoding."""
_LEAST = 32
"""Bytes in which letters show that they are letters."""
_MAX_BAD = 0.01
_MIN_BLANKS = 0.02
_MAX_CAPITALS_INSIDE = 0.02
_MIN_WORDS = 0.93
_MAX_DIFFERENT = 0.6
_WIDE = ("utf-16-le", "utf-16-be")
# Each stands for its relatives, which have letters at the same places.
_ASIAN = ("gb18030", "cp932", "euc_jp", "big5", "cp949")
_BYTES = ("cp1252", "cp1250", "iso8859-2", "cp1251", "koi8-r", "iso8859-5", "cp866", "cp1253", "cp1255", "cp1256")
_BLANKS = frozenset(
    " \t\r\n,.;:!?'\"()[]{}<>/=-|\u2026\u2018\u2019\u201c\u201d\u00ab\u00bb"
    "\u3000\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\u300c\u300d\u300e\u300f\uff08\uff09\u300a\u300b"
)
# Full stops and commas: Chinese and Japanese have no blanks.
_BLANK_UNITS = [char.encode(encoding) for encoding in _WIDE for char in " \n\u3001\u3002\uff0c"]
_UTF8_INVALID = re.compile("[\udc80-\udcff]")


def invalid_utf8(sample: bytes) -> int:
    """Bytes that are not part of valid UTF-8."""
    decoded, _ = codecs.utf_8_decode(sample, "surrogateescape", False)
    return len(_UTF8_INVALID.findall(decoded))


def is_wide_text(sample: bytes) -> bool:
    """Whether it reads as text with two bytes a character, from its first byte on."""
    if not any(sample.count(unit) * 200 >= len(sample) for unit in _BLANK_UNITS):
        return False  # nearly all that is not, and at a hundredth of the cost
    return any(_reads_as_text(_head(sample), name) for name in _WIDE)


def is_legacy_text(sample: bytes) -> bool:
    """Whether it reads as text in one of the encodings that were common before UTF-8."""
    return any(_reads_as_text(_head(sample), name) for name in _ASIAN + _BYTES)


def _head(sample: bytes) -> bytes:
    """From the beginning, where headings and tables are, and from what follows; at even places."""
    if len(sample) <= 2 * _HEAD:
        return sample[:_HEAD]
    middle = len(sample) // 2 & ~1
    return sample[: _HEAD // 2] + sample[middle : middle + _HEAD // 2]


def _reads_as_text(data: bytes, encoding: str) -> bool:
    text = data.decode(encoding, "replace")
    kinds = "".join(map(_kind, text))
    total = len(kinds)
    if len(data) < _LEAST or kinds.count("x") > 1 + total * _MAX_BAD or kinds.count(" ") < total * _MIN_BLANKS:
        return False
    if encoding in _BYTES:
        # Nearly any bytes are characters in these, so they have to make words: capitals come first in them.
        words = sum(map(kinds.count, "aA0 "))
        return words >= total * _MIN_WORDS and kinds.count("aA") <= total * _MAX_CAPITALS_INSIDE
    # Random pairs of bytes are rare characters, each of them once.
    wide = [char for char in text if char > "\x7f"]
    return encoding in _WIDE or len(set(wide)) <= _LEAST + len(wide) * _MAX_DIFFERENT


@lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    """A space for blanks and punctuation, ``a`` and ``A`` for letters, 0 for digits, ``x`` for what texts do not have,
    a point for the rest."""
    if char in _BLANKS:
        return " "
    category = unicodedata.category(char)
    if category in ("Cn", "Cc", "Co", "Cs") or char == "\ufffd":
        return "x"
    if category in ("Lu", "Lt"):
        return "A"
    return {"L": "a", "M": "a", "N": "0"}.get(category[0], ".")
