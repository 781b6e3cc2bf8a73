"""Writes docs/api.md, the Python API, from docstrings: python tools/make_api.py.

Every public name of ``zllm`` is on the page, and of each class what a program calls and :mod:`tarfile` has otherwise,
or not.
"""

from __future__ import annotations

import inspect
import re
import runpy
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zllm

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
INTRODUCTION = """# The Python API

Made from the docstrings by `tools/make_api.py`. How archives are used together with other libraries:
[integrations-python.md](integrations-python.md).

"""
GROUPS = {
    "Archives": ("open", "ZllmFile", "ZllmInfo", "is_zllmfile"),
    "One compressed stream": ("compress", "decompress", "Compressor", "Decompressor", "ZllmStream", "open_stream"),
    "In other modules' functions": ("register_tarfile", "register_shutil"),
    "Options": ("Options", "WriteOptions", "ReadOptions", "Limits"),
}
_OPTIONS = {"Options", "WriteOptions", "ReadOptions"}
_LONG = {*_OPTIONS, "ZllmFile", "Limits"}
"""Classes whose arguments are told by their docstrings alone."""
_INSIDE = {
    "replace",  # of Pythons whose tarfile has it not
    "gzopen", "bz2open", "xzopen", "zstopen", "makefile", "makelink", "makelink_with_filter", "extraction_filter",
    "frombuf", "create_pax_header", "headers", "of", "keep_exact", "store_holes", "open", "models", "storage",
    "check_members", "check_output", "directory_text", "parts_of_map", "unpacked_map",
}  # fmt: skip
"""What others of zllm's modules, or tarfile, call."""
_SECTION = re.compile(r"^(Args|Raises):$")
_ENTRY = re.compile(r"^    (\S.*?): (.*)$")


def named(name: str) -> Any:
    """What is called so in ``zllm``, or among the options."""
    if name in _OPTIONS:
        from zllm.archive import options

        return getattr(options, name)
    return getattr(zllm, name)


def page() -> str:
    """The whole page."""
    listed = {name for names in GROUPS.values() for name in names}
    errors = [name for name in zllm.__all__ if name not in listed]
    out = [INTRODUCTION]
    for title, names in GROUPS.items():
        out.append(f"## {title}\n\n")
        for name in names:
            out += described(name, named(name))
    out.append("## Errors\n\n| error | also a | meaning |\n|---|---|---|\n")
    out += [error_row(named(name)) for name in errors]
    return str(runpy.run_path(str(ROOT / "tools" / "wrap_docs.py"))["wrapped"]("".join(out)))


def described(name: str, thing: Any) -> Iterator[str]:
    """A function, or a class with what is its own."""
    if not inspect.isclass(thing):
        yield f"### zllm.{name}{signature(thing)}\n\n{prose(inspect.getdoc(thing) or '')}\n"
        return
    place = thing.__module__ if name in _OPTIONS else "zllm"
    yield f"### class {place}.{name}{signature(thing) if name not in _LONG else '(...)'}\n\n"
    yield prose(inspect.getdoc(thing) or "") + "\n"
    rows = [(key, *one) for key, one in sorted(members(thing).items())]
    for key, text, doc in rows:
        yield f"**`{key}{text}`**\n\n{prose(doc)}\n"


def members(kind: type) -> dict[str, tuple[str, str]]:
    """Public methods and properties that zllm defines: signature and docstring of each."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("zllm"):
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            doc = inspect.getdoc(value if isinstance(value, property) else function)
            if name.startswith("_") or name in _INSIDE or not doc:
                continue
            if isinstance(value, property):
                found[name] = "", doc
            elif inspect.isfunction(function):
                found[name] = signature(function), doc
    return found


def signature(function: Any) -> str:
    """As Python has it, without ``self`` and types that nobody could write."""
    parts: list[str] = []
    star = False
    for one in inspect.signature(function).parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f"={shown(one.default)}"
        parts.append(f"{mark}{one.name}{default}")
    return f"({', '.join(parts)})"


def shown(value: Any) -> str:
    """A default value."""
    text = repr(value)
    return text if len(text) < 30 and not text.startswith("<") else "..."


def prose(doc: str) -> str:
    """A docstring as Markdown."""
    out: list[str] = []
    inside = ""
    for line in inspect.cleandoc(doc).splitlines():
        if match := _SECTION.match(line):
            inside = match[1]
            out += [{"Args": "Arguments:", "Raises": "Raises:"}[inside], ""]
        elif inside and (match := _ENTRY.match(line)):
            names = ", ".join(f"`{name}`" for name in match[1].split(", "))
            out.append(f"- {names}: {match[2]}")
        elif inside and line.startswith("    "):
            out.append(f"  {line.strip()}")
        else:
            inside = "" if line else inside
            out.append(line)
    return roles("\n".join(out)) + "\n"


def roles(text: str) -> str:
    """Names in reStructuredText as Markdown has them."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def error_row(kind: type) -> str:
    """A line of the table of errors."""
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    text = " ".join(textwrap.dedent(inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return f"| `{kind.__name__}` | {bases} | {roles(text)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
