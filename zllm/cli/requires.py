"""``zllm info --requires``: what an archive needs, what of it is here, and how to get the rest."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from zllm.archive.layout import BUILT_IN
from zllm.cli import output
from zllm.errors import EXIT_MISSING, ZllmError

if TYPE_CHECKING:
    from zllm.archive.archive import Archive
    from zllm.archive.coding import Decoders
    from zllm.format.section import ModelRef

_OTHER = "a zllm that computes arithmetic version {}"
# Where an imported model comes from: organisation/name@revision.
_HUB = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,64})", re.ASCII)


def facts(name: str, archive: Archive, console: output.Console) -> dict[str, Any]:
    """All of it, for people and for JSON; the exit code becomes 4 if something is missing."""
    from zllm import _native
    from zllm.format.ends import FORMAT_VERSION

    needed = archive.requirements()
    for problem in needed.problems:
        console.error(output.message(problem), problem.exit_code)
    codecs = [_codec(number, count) for number, count in sorted(needed.frames.items())]
    models = [_model(ref, archive.decoders) for ref in needed.models.values()]
    versions = sorted({*needed.adaptive, *(ref.arithmetic for ref in needed.models.values())})
    ready = all(row["get"] is None for row in (*codecs, *models))
    for version in needed.adaptive - {_native.ARITHMETIC_VERSION}:
        ready = False
        console.error(f"{name}: some text needs {_OTHER.format(version)}", EXIT_MISSING)
    if not ready:
        console.raise_status(EXIT_MISSING)
    return {
        "archive": name,
        "ready": ready,
        "format": FORMAT_VERSION,  # opening it would have failed otherwise
        "arithmetic": versions,
        "arithmetic_here": _native.ARITHMETIC_VERSION,
        "codecs": codecs,
        "models": models,
    }


def _codec(number: int, frames: int) -> dict[str, Any]:
    from zllm.codecs import registry

    get = None
    try:
        registry.codec_class(number)
    except (ZllmError, ImportError) as exc:
        get = getattr(exc, "hint", "") or f"install the package that provides codec {number}, or a newer zllm"
    state = "here" if get is None else "missing"
    return {"name": registry.name_of(number), "id": number, "frames": frames, "state": state, "get": get}


def _model(ref: ModelRef, decoders: Decoders) -> dict[str, Any]:
    state = _state(ref, decoders)
    return {
        "name": ref.name,
        "sha256": ref.sha256.hex(),
        "size": ref.size,
        "origin": ref.origin or BUILT_IN,
        "arithmetic": ref.arithmetic,
        "state": state,
        "get": None if state in ("embedded", "installed") else _how(ref, state),
    }


def _state(ref: ModelRef, decoders: Decoders) -> str:
    from zllm import _native

    if ref.arithmetic != _native.ARITHMETIC_VERSION:
        return "of another version"
    embedded = decoders.embedded.get(ref.sha256)
    damaged = False
    if embedded is not None:
        try:
            embedded.load(ref)
            return "embedded"
        except ZllmError:
            damaged = True
    try:
        decoders.installed(ref)
        return "installed"
    except ZllmError:
        return "embedded, but damaged" if damaged else "missing"


def _how(ref: ModelRef, state: str) -> str:
    """The command that gets a model. Names come from the archive, so they are quoted."""
    name = shlex.quote(output.printable(ref.name))
    if state == "of another version":
        return _OTHER.format(ref.arithmetic)
    if hub := _HUB.fullmatch(ref.origin):
        return f"zllm model import {hub[1]} --revision {hub[2]} --name {name}"
    where = "a zllm that has it built in" if not ref.origin else "the machine that made the archive"
    return f"zllm model export {name} FILE.zlm (on {where}), then zllm model import FILE.zlm (here)"
