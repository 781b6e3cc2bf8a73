"""What a member's data is, from the data. The name only helps where content cannot say (pieces of a large file)."""

from __future__ import annotations

import math
import re
from collections import Counter

from zllm.format.category import Category
from zllm.planner.encodings import invalid_utf8, is_legacy_text, is_wide_text
from zllm.planner.signatures import signature

__all__ = ["Category", "bucket_key", "categorize", "is_for_models"]

_HEAD = 1 << 10
_WINDOW = 16 << 10
_WINDOWS = 6
# Random bytes have 7.99 bits of entropy in 64 KiB, machine code 6 to 6.5, text 4 to 5.
_INCOMPRESSIBLE_BITS = 7.9
_ENTROPY_MIN = 16 << 10
# Text has no control bytes, but a few stray ones do not make a book binary. Random bytes have 11% of them.
_MAX_CONTROL_SHARE = 0.005
_MAX_INVALID_SHARE = 0.01
_MAX_FOREIGN_SHARE = 0.1
# Western 8-bit text: C1 controls are rare (Windows-1252 has quotes there); letters and blanks are most of it.
_MAX_C1_SHARE = 0.02
_MIN_ASCII_SHARE = 0.7
_CONTROLS = bytes(byte for byte in range(32) if byte not in (8, 9, 10, 12, 13, 27)) + b"\x7f"
_HIGH = bytes(range(128, 256))
_C1 = bytes(range(128, 160))
_PRINTABLE_ASCII = bytes(range(32, 127)) + b"\t\n\r"

_BY_EXTENSION = {
    Category.TENSOR: frozenset({"safetensors", "npy", "npz", "pt", "pth", "gguf", "ckpt"}),
    Category.AUDIO: frozenset({"wav", "aif", "aiff", "aifc", "au"}),
    Category.IMAGE: frozenset({"bmp", "dib", "ppm", "pgm", "pnm", "pam", "tga", "tif", "tiff"}),
}
_SHAPE = bytes.maketrans(
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", b"0" * 10 + b"a" * 26 + b"A" * 26
)
_XML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE|!--|[a-z][\w.:-]*[\s>])", re.IGNORECASE)
_HTML = re.compile(rb"<!DOCTYPE html|<html", re.IGNORECASE)
_TAG = re.compile(rb"</?[A-Za-z][\w.:-]*")
# One tag in this many bytes; HTML is text with tags, and stays with text.
_BYTES_PER_TAG = 100
_JSON_PAIR = re.compile(rb'"[^"\n]{0,80}"\s*:')
_MIN_LINES = 5
_MOST = 0.8


def categorize(name: str, data: memoryview) -> Category:
    """The category of one member, or of one piece of a large one.

    Args:
        name: the member's name, a hint for pieces that start in the middle of a file.
        data: its bytes; at most some 100 KiB of them are looked at, always the same ones.
    """
    found = signature(bytes(data[:_HEAD]))
    if found is not None:
        return found
    sample = _sample(data)
    extension = _extension(name)
    if _has_few_controls(sample) and _is_text(sample):
        return Category.STRUCTURED if _is_structured(bytes(data[:_WINDOW]), extension) else Category.TEXT
    if is_wide_text(sample):
        return Category.TEXT
    for category, extensions in _BY_EXTENSION.items():
        if extension in extensions:
            return category
    if len(sample) >= _ENTROPY_MIN and _entropy(sample) > _INCOMPRESSIBLE_BITS:
        return Category.COMPRESSED
    return Category.BINARY


def _sample(data: memoryview) -> bytes:
    """All of a small member; windows spread evenly over a large one, the first and the last always among them."""
    size = len(data)
    if size <= _WINDOW * _WINDOWS:
        return bytes(data)
    step = (size - _WINDOW) // (_WINDOWS - 1) & ~1  # whole characters of two bytes
    return b"".join(bytes(data[at : at + _WINDOW]) for at in range(0, size - _WINDOW + 1, step))


def _entropy(sample: bytes) -> float:
    total = len(sample)
    return -sum(count / total * math.log2(count / total) for count in Counter(sample).values())


def _count(sample: bytes, which: bytes) -> int:
    return len(sample) - len(sample.translate(None, which))


def _is_text(sample: bytes) -> bool:
    size = len(sample)
    high = _count(sample, _HIGH)
    if high <= size * _MAX_INVALID_SHARE or invalid_utf8(sample) <= size * _MAX_INVALID_SHARE:
        return True
    # Western text is mostly ASCII, and may be too short, or have too many tables, to be read closely.
    if _count(sample, _C1) <= size * _MAX_C1_SHARE and _count(sample, _PRINTABLE_ASCII) >= size * _MIN_ASCII_SHARE:
        return True
    return is_legacy_text(sample)


def _has_few_controls(sample: bytes) -> bool:
    size = len(sample)
    return size > 0 and _count(sample, _CONTROLS) <= max(1, size * _MAX_CONTROL_SHARE) * (size > 16)


def is_for_models(data: memoryview) -> bool:
    """Whether text is in an encoding that models have read: UTF-8, or ASCII with a few letters of another one.

    Of Czech in Latin-2, where 6% of the bytes are not UTF-8, a model saves as much as of Czech in UTF-8; it knows
    nothing of Cyrillic letters of one byte, of Chinese ones of two, or of UTF-16.
    """
    sample = _sample(data)
    return _has_few_controls(sample) and invalid_utf8(sample) <= len(sample) * _MAX_FOREIGN_SHARE


def _is_structured(head: bytes, extension: str) -> bool:
    if extension in _SOURCE:
        return False  # a source file full of constants looks like a table, but belongs beside the other sources
    lines = [line for line in head.split(b"\n")[:400] if line.strip()]
    if len(head) == _WINDOW and len(lines) > 1:
        lines.pop()  # cut
    return _is_markup(head) or _is_json(head, lines) or _is_table(lines) or _is_log(lines)


def _is_markup(head: bytes) -> bool:
    if _XML_START.match(head) is None or _HTML.search(head[:_HEAD]) is not None:
        return False
    return head.startswith(b"<?xml") or len(_TAG.findall(head)) * _BYTES_PER_TAG >= len(head)


def _is_json(head: bytes, lines: list[bytes]) -> bool:
    stripped = head.lstrip()
    if stripped[:1] not in (b"{", b"["):
        return False
    pairs = len(_JSON_PAIR.findall(head))
    if pairs and pairs * 200 >= len(head):
        return True
    # Arrays of numbers or strings have no pairs.
    punctuation = _count(head, b'[]{},":0123456789.-+eE \n\t')
    return len(lines) > 0 and punctuation >= 0.9 * len(head)


def _is_table(lines: list[bytes]) -> bool:
    """Comma, semicolon, tab or bar separated values: nearly all lines have the same number of separators."""
    if len(lines) < _MIN_LINES:
        return False
    for separator, least in ((b"\t", 1), (b";", 2), (b",", 2), (b"|", 2)):
        counts = Counter(line.strip().count(separator) for line in lines)
        most, times = counts.most_common(1)[0]
        if most >= least and times >= _MOST * len(lines):
            return True
    return False


def _is_log(lines: list[bytes]) -> bool:
    """Nearly all lines start with the same shape of at least two digits and punctuation: a time, an address."""
    if len(lines) < _MIN_LINES:
        return False
    shapes = Counter(re.sub(rb"(.)\1+", rb"\1", line[:16].translate(_SHAPE))[:8] for line in lines)
    shape, times = shapes.most_common(1)[0]
    return times >= _MOST * len(lines) and shape.count(b"0") >= 2


_SOURCE_EXTENSIONS = "py pyi c h cc hh cpp hpp js ts tsx jsx go rs java rb pl pm sh lua php cs swift kt scala"
_SOURCE = frozenset(_SOURCE_EXTENSIONS.split())
# Members of one family are neighbours in stream order, so that foo.c stays beside foo.h.
_FAMILIES = {
    extension: family
    for family, extensions in {
        "c": "c h cc hh cpp hpp cxx hxx inl ipp",
        "py": "py pyi pyx pxd",
        "js": "js mjs cjs jsx ts tsx",
        "html": "html htm xhtml shtml",
        "yaml": "yaml yml",
        "jpeg": "jpeg jpg",
        "md": "md markdown",
    }.items()
    for extension in extensions.split()
}
_MAX_EXTENSION = 12


def bucket_key(name: str, category: Category) -> str:
    """A sort key that puts similar members next to each other: the family of the name's extension.

    Few different keys on purpose: each bucket in use costs a little in the section map.
    """
    if category in (Category.COMPRESSED, Category.AUDIO):
        return ""  # nothing to gain from neighbours
    extension = _extension(name)
    return _FAMILIES.get(extension, extension)


def _extension(name: str) -> str:
    """Lower case, at most 12 ASCII letters and digits; numbered copies (``log.1``) count as what they are copies of."""
    base = name.rsplit("/", 1)[-1].rstrip("~")
    parts = base.lstrip(".").split(".")
    while len(parts) > 1:
        last = parts.pop().lower()
        if last.isdigit():
            continue
        usable = len(last) <= _MAX_EXTENSION and last.isascii() and last.isalnum()
        return last if usable else ""
    return ""
