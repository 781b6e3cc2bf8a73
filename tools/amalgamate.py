"""Makes one C file of ``unzllm`` and all that it is made of: ``python tools/amalgamate.py unzllm.c``.

``cc unzllm.c -lzstd -llz4 -lz -pthread`` compiles it, where the headers of these and of xxhash are. Files are put one
behind the other, each header where it is first needed; names that several of them have for things of their own get the
name of the file behind them.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
SPECS = ("zllm-format.md", "arithmetic.md", "predictor.md", "model-format.md", "media.md")
LEFT_OUT = {"encode.c", "repeats.c", "archive/compress.c"}
FRONT = """/* unzllm: .zllm archives listed, tested and unpacked. One file, made of many by tools/amalgamate.py.
 *
 *     cc -O2 unzllm.c -o unzllm -lzstd -llz4 -lz -pthread
 *
 * It takes gcc or clang, and the headers of libzstd, liblz4, zlib and xxhash. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define ZSTD_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#define ZLLM_STATIC
#define ZLLM_BUILD
#define ZLLM_DECODE_ONLY
#if defined(__GNUC__) && !defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
"""
_LOCAL = re.compile(r'^[ \t]*#[ \t]*include "([^"]+)"[^\n]*\n', re.M)
_FEATURE = re.compile(
    r"^#define (?:_GNU_SOURCE|_POSIX_C_SOURCE|_DEFAULT_SOURCE|_FILE_OFFSET_BITS|ZSTD_STATIC_LINKING_ONLY|"
    r"XXH_INLINE_ALL)"
    r"[^\n]*\n",
    re.M,
)
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_SKIPPED = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)


def sources() -> list[str]:
    """The files, below ``csrc``."""
    lists = [(CSRC / name).read_text(encoding="utf-8").split() for name in ("sources.txt", "sources-archive.txt")]
    tools = sorted(f"tools/{path.name}" for path in (CSRC / "tools").glob("*.c"))
    found = [name for names in lists for name in names if name not in LEFT_OUT]
    return [*found, "archive/decodeonly.c", *tools]


def find(name: str, beside: Path) -> Path:
    """A header by the name that a file in a folder includes it by."""
    for folder in (beside, CSRC / "include", CSRC):
        if (folder / name).exists():
            return (folder / name).resolve()
    raise FileNotFoundError(name)


@cache
def included(path: Path) -> frozenset[Path]:
    """A file and all headers that it includes."""
    found = {path}
    for name in _LOCAL.findall(path.read_text(encoding="utf-8")):
        found |= included(find(name, path.parent))
    return frozenset(found)


def is_once(path: Path) -> bool:
    """Whether a header is taken once. Some are included several times, those of one kind of processor where it is the
    one.
    """
    guarded = re.search(r"^#ifndef \w+_H$", path.read_text(encoding="utf-8"), re.M)
    return bool(guarded) and path.parent.name not in {"x86", "arm"}


class Amalgamation:
    """Takes one file after the other."""

    def __init__(self) -> None:
        files = {CSRC / name for name in sources()}
        headers = {header for file in files for header in included(file) if header not in files and is_once(header)}
        self._own = {header: own_names(header.read_text(encoding="utf-8")) for header in headers}
        self._macros = {header: set(_MACRO.findall(header.read_text(encoding="utf-8"))) for header in headers}
        counts = Counter(name for names in self._own.values() for name in names)
        self._twice = {name for name, count in counts.items() if count > 1}
        self._seen: set[Path] = set()

    def _of_headers(self, path: Path, text: str) -> str:
        """``text`` of a file, with other names for what different headers give the same."""
        here = included(path)
        for header in sorted(here & self._own.keys()):
            text = renamed(text, self._own[header] & self._twice, suffix_of(header.relative_to(CSRC)))
        if path.suffix == ".h" and not is_once(path):
            return text  # what it needs is where it is included
        others = {name for header in self._macros.keys() - here for name in self._macros[header]}
        own = {name for header in self._macros.keys() & here for name in self._macros[header]}
        return renamed(text, others - own, suffix_of(path.relative_to(CSRC)))

    def _headers(self, path: Path, out: list[str]) -> str:
        """The text of a file without the headers that it includes, which go to ``out`` if they have not come before,
        but with those that are included several times.
        """

        def take(match: re.Match[str]) -> str:
            header = find(match[1], path.parent)
            if not is_once(header):
                return self._headers(header, out)
            if header not in self._seen:
                self._seen.add(header)
                out.append(_FEATURE.sub("", self._headers(header, out)))
            return ""

        text = self._of_headers(path, path.read_text(encoding="utf-8"))
        return _LOCAL.sub(take, text)

    def take(self, name: str) -> tuple[str, str]:
        """The headers that come with a file, and its own text."""
        out: list[str] = []
        text = self._headers(CSRC / name, out)
        return "\n".join(out), _FEATURE.sub("", text)


def suffix_of(name: str | Path) -> str:
    """What names of a file's own get behind them."""
    return re.sub(r"\W", "_", str(name).removesuffix(".c"))


def own_names(text: str) -> set[str]:
    """Names of functions, variables, types and constants that a file has for itself."""
    plain = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", "", _SKIPPED.sub("", text), flags=re.M)
    found = {
        name
        for body in re.findall(r"\benum\s*\w*\s*\{([^}]*)\}", plain)
        for name in re.findall(r"(?:^|,)\s*(\w+)", body)
    }
    found |= set(_MACRO.findall(_COMMENT.sub("", text)))
    found |= set(re.findall(r"\btypedef\b[^;{}]*?\(\*\s*(\w+)\)", plain))
    found |= set(re.findall(r"\btypedef\s+\w+\s+(\w+)\s*\(", plain))
    top, depth = [], 0
    for piece in re.split(r"([{}])", plain):
        depth += {"{": 1, "}": -1}.get(piece, 0)
        if depth == 0:
            top.append(piece)
    outer = "".join(top)
    found |= set(re.findall(r"}\s*(\w+)\s*;", outer))
    found |= set(re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*}", outer))
    for statement in re.split(r"[;}]", outer):
        if re.match(r"\s*(?:static|TARGET|AVX2)\b", statement):
            head = re.split(r"[(=\[]", re.sub(r"__attribute__\s*\(\(.*?\)\)\s*\)?", "", statement), maxsplit=1)[0]
            words = re.findall(r"\w+", head)
            found |= set(words[-1:])
        if simple := re.match(r"\s*typedef\b.*?(\w+)\s*(?:\([^)]*\))?\s*$", statement, re.S):
            found.add(simple[1])
    return found - {"struct", "union", "enum"}


def renamed(text: str, names: set[str], suffix: str) -> str:
    """``text`` with other names, but for members of structures."""
    if not names:
        return text
    pattern = re.compile(_SKIPPED.pattern + r"|(?<![\w.>])(?:" + "|".join(sorted(names)) + r")\b", re.S)

    def change(match: re.Match[str]) -> str:
        return match[0] if match[0] not in names else f"{match[0]}_{suffix}"

    return pattern.sub(change, text)


def amalgamated() -> str:
    """The one file."""
    taken, maker = [], Amalgamation()
    for name in sources():
        headers, text = maker.take(name)
        taken.append((name, headers, text))
    counts = Counter(name for _, *texts in taken for text in texts for name in own_names(text))
    out = [FRONT]
    for name, headers, own in taken:
        clashing = {one for one in own_names(own) if counts[one] > 1}
        text = renamed(own, clashing, suffix_of(name))
        out += [headers, f"\n/* {name} */\n", text]
        out += [f"#undef {macro}\n" for macro in dict.fromkeys(_MACRO.findall(_COMMENT.sub("", text)))]
    return "".join(out)


def carried(target: Path) -> None:
    """Write what archives carry: a ``.tar.gz`` of the one file and of the specifications, always the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [
            ("unzllm.c", amalgamated().encode()),
            *((path.name, path.read_bytes()) for path in (ROOT / "LICENSE", *(ROOT / "docs" / one for one in SPECS))),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    target.write_bytes(gzip.compress(out.getvalue(), 9, mtime=0))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(amalgamated(), encoding="utf-8")
