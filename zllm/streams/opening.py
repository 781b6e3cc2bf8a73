"""``open`` for one compressed stream: binary or text."""

from __future__ import annotations

import io
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast, overload

from zllm.errors import UsageError
from zllm.streams.file import ZllmStream
from zllm.streams.options import Model

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

BinaryMode = Literal["r", "rb", "w", "wb", "x", "xb", "a", "ab"]
TextMode = Literal["rt", "wt", "xt", "at", "tr", "tw", "tx", "ta"]


class _Text(io.TextIOWrapper):
    """Text over a stream, which is discarded after an error as the stream alone would be."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            cast(ZllmStream, self.buffer).discard()
        self.close()


@overload
def open_stream(
    file: StrOrBytesPath | BinaryIO,
    mode: BinaryMode = "rb",
    *,
    level: int | None = None,
    model: Model = None,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    **options: Any,
) -> ZllmStream: ...
@overload
def open_stream(
    file: StrOrBytesPath | BinaryIO,
    mode: TextMode,
    *,
    level: int | None = None,
    model: Model = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> io.TextIOWrapper: ...
@overload
def open_stream(
    file: StrOrBytesPath | BinaryIO,
    mode: str = "rb",
    *,
    level: int | None = None,
    model: Model = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> ZllmStream | io.TextIOWrapper: ...
def open_stream(
    file: StrOrBytesPath | BinaryIO,
    mode: str = "rb",
    *,
    level: int | None = None,
    model: Model = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> ZllmStream | io.TextIOWrapper:
    """Open one compressed stream as a file, as ``open`` of :mod:`gzip`, :mod:`lzma` and ``compression.zstd``.

    Args:
        file: a name, or a binary file object, which stays open.
        mode: ``rb``, ``wb``, ``xb`` or ``ab`` (with or without ``b``) is a :class:`ZllmStream`; ``rt``, ``wt``, ``xt``
            or ``at`` is text.
        level: as for :class:`ZllmStream`.
        model: as for :class:`ZllmStream`.
        encoding: of text, as for :class:`io.TextIOWrapper`, and so ``errors`` and ``newline``.
        errors: see ``encoding``.
        newline: see ``encoding``.
        options: as for :class:`ZllmStream`.

    Raises:
        UsageError: an unknown mode, or an encoding of what is not text. It is also a ValueError.
        NotZllmError, DamagedError, OSError: as :class:`ZllmStream`.
    """
    text = "t" in mode
    if text and "b" in mode:
        raise UsageError(f"mode must be text or binary, not both: {mode!r}")
    for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if not text and value is not None:
            raise UsageError(f"{name} is for text: mode {mode!r} is binary")
    stream = ZllmStream(file, mode.replace("t", "", 1), level=level, model=model, **options)
    if not text:
        return stream
    return _Text(cast(BinaryIO, stream), encoding=encoding, errors=errors, newline=newline)
