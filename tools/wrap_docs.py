"""Wraps lines of Markdown that have more than 120 characters: python tools/wrap_docs.py FILE...

Only paragraphs and list items with such a line change. Tables, headings and code stay as they are.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

WIDTH = 120
_ITEM = re.compile(r"( *)([-*] |\d+\. )")
_KEPT = re.compile(r" *(\||#|>|<|```)")


def wrapped(text: str) -> str:
    """The document with its long lines wrapped."""
    out: list[str] = []
    block: list[str] = []
    code = False
    for line in [*text.splitlines(), ""]:
        fence = line.lstrip().startswith("```")
        if code or fence or not line.strip() or _KEPT.match(line):
            out += [*_wrap(block), line]
            block = []
            code ^= fence
        elif _ITEM.match(line):
            out += _wrap(block)
            block = [line]
        else:
            block.append(line)
    return "\n".join(out[:-1]) + "\n"


def _wrap(block: list[str]) -> list[str]:
    if all(len(line) <= WIDTH for line in block):
        return block
    item = _ITEM.match(block[0])
    first = item[0] if item else block[0][: len(block[0]) - len(block[0].lstrip())]
    words = " ".join(line.strip() for line in block)[len(first.strip()) :].split()
    return textwrap.wrap(
        " ".join(words), WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def main(paths: list[str]) -> None:
    """Wrap the files in place."""
    for path in map(Path, paths):
        text = path.read_text(encoding="utf-8")
        path.write_text(wrapped(text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
