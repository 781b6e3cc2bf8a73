"""Names of members as the file system takes them: bytes, in components, none of which leads upwards."""

from __future__ import annotations

from zllm.extraction.errors import NotExtractedError

MAX_NAME = 1 << 16
"""Longest name that is extracted, in bytes. Each folder in it is made in turn: this bounds the work for one member."""

Parts = tuple[bytes, ...]


def encoded(name: str, encoding: str = "utf-8") -> bytes:
    """The bytes that :mod:`tarfile` decoded ``name`` from, with ``encoding`` and surrogate escapes.

    Pax headers are UTF-8 whatever the encoding: what ``encoding`` lacks came from there.
    """
    try:
        return name.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass" if _has_other_surrogates(name) else "surrogateescape")


def _has_other_surrogates(name: str) -> bool:
    return any("\ud800" <= char <= "\udfff" and not "\udc80" <= char <= "\udcff" for char in name)


def split(name: bytes, shown: str) -> Parts:
    """The components of ``name``, empty ones and ``.`` left out: none at all for the folder extracted to.

    A leading ``/`` means nothing. ``shown`` is the name for messages.

    Raises:
        NotExtractedError: a component is ``..``, or the name has a NUL or is too long.
    """
    if b"\0" in name:
        raise NotExtractedError(shown, "its name contains a NUL, which no file name can: not extracted")
    if len(name) > MAX_NAME:
        raise NotExtractedError(shown, f"its name has over {MAX_NAME} bytes: not extracted")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise NotExtractedError(shown, "its name contains '..' and may lead out of the folder: not extracted")
    return parts
