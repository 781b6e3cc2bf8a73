"""What ``zllm.open`` takes, opened: modes, names and files, for reading and for writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, cast

from zllm.archive.options import WriteOptions
from zllm.errors import OtherFormatError, UsageError

if TYPE_CHECKING:
    from zllm.archive.growing import Growing
    from zllm.archive.target import Target
    from zllm.archive.writer import Writer

_MODES = {
    "r": "r", "r:": "r", "r:*": "r", "r:zllm": "r", "r|": "r|", "r|*": "r|", "r|zllm": "r|",
    "w": "w", "w:": "w", "w:zllm": "w", "w|": "w", "w|zllm": "w", "x": "x", "x:": "x", "x:zllm": "x",
    "a": "a", "a:": "a", "a:zllm": "a",
}  # fmt: skip


def kind_of(mode: str) -> str:
    """``r``, ``r|``, ``w``, ``x`` or ``a``.

    Raises:
        OtherFormatError: the mode asks for another format.
        UsageError: there is no such mode.
    """
    kind = _MODES.get(mode)
    if not isinstance(mode, str):
        raise UsageError(f"mode must be a string, not {mode!r}")
    if kind is not None:
        return kind
    action, _, other = mode.replace("|", ":").partition(":")
    if action == "a" and other in ("", "zllm"):
        raise UsageError(f"mode {mode!r}: a pipe cannot be read before it is added to: mode a is for files")
    if action in ("r", "w", "x", "a", "") and other:
        raise OtherFormatError(f"mode {mode!r}: zllm.open knows zllm archives only; tarfile.open knows other formats")
    raise UsageError(f"mode must be r, r|, w, w|, x or a, not {mode!r}")


def path_of(name: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None) -> str | bytes | None:
    """The name as ``os`` takes it, None for none."""
    return None if name is None or name == "" else os.fspath(name) or None


def name_of(path: str | bytes | None, fileobj: object) -> str | bytes | None:
    """What the archive is called: the file object's own name where none was given."""
    if path is None:
        name = getattr(fileobj, "name", None)
        return name if isinstance(name, (str, bytes)) and name else None
    return path


def writing(
    path: str | bytes | None, kind: str, fileobj: BinaryIO | Growing | None, options: WriteOptions
) -> tuple[Writer, Target | Growing | None]:
    """Where to write a tar stream, and the file that is to get the name ``path`` or grows, unless ``fileobj`` is
    written.

    Raises:
        OSError, ZllmError: as ``zllm.open``.
    """
    from zllm.archive.growing import Growing
    from zllm.archive.target import Target
    from zllm.archive.writer import Writer

    if isinstance(fileobj, Growing):
        return adding(fileobj, options), fileobj
    if kind == "a" and (fileobj is not None or os.path.lexists(cast(str, path))):
        name = "" if fileobj is not None else os.fsdecode(cast(str, path))
        growing = Growing(name, file=fileobj, options=options)
        return adding(growing, options), growing
    if fileobj is not None:
        return Writer(fileobj, options), None
    target = Target(os.fsdecode(cast(str, path)), replace=kind == "w")
    try:
        return Writer(target.file, options), target
    except BaseException:
        target.discard()
        raise


def adding(growing: Growing, options: WriteOptions) -> Writer:
    """A writer of one more generation; ``growing`` is discarded if there can be none.

    Raises:
        ZllmError: as ``zllm.open``.
    """
    from zllm.archive.growing import now
    from zllm.archive.writer import Writer

    try:
        writer = Writer(growing, options, after=growing.layout)
        writer.time, writer.before_end = now(), growing.sync
    except BaseException:
        growing.discard()
        raise
    return writer


def is_zllmfile(name: str | os.PathLike[str] | BinaryIO) -> bool:
    """Whether the file, or the binary file object at its current position, starts like an archive. The position stays.

    Raises:
        OSError: it cannot be read.
    """
    from zllm.format.ends import FILE_MAGIC

    def starts_right(file: BinaryIO) -> bool:
        head = b""
        while len(head) < len(FILE_MAGIC) and (part := file.read(len(FILE_MAGIC) - len(head))):
            head += part
        return head == FILE_MAGIC

    if not hasattr(name, "read"):
        with open(cast(str, name), "rb") as opened:
            return starts_right(opened)
    file = cast(BinaryIO, name)
    place = file.tell()
    try:
        return starts_right(file)
    finally:
        file.seek(place)
