"""One compressed stream as a file."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from zllm.archive.unpicklable import Unpicklable
from zllm.errors import NotZllmError, UsageError
from zllm.streams.options import Model, reading, writing

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath, WriteableBuffer
    from typing_extensions import Buffer, Self

    from zllm.archive.writer import Writer
    from zllm.streams.reading import Decoded

_BUFFER = 1 << 17
_MODES = {"r": "r", "rb": "r", "w": "w", "wb": "w", "x": "x", "xb": "x", "a": "a", "ab": "a"}


class ZllmStream(Unpicklable, io.BufferedIOBase):
    """A file whose data is compressed, in the shape of :class:`compression.zstd.ZstdFile`.

    Args:
        file: a name, or a binary file object, which stays open.
        mode: ``r`` or ``rb`` reads; ``w`` writes, ``x`` refuses to replace a file, ``a`` adds another stream behind
            those that the file has. Readers take streams one behind the other for one.
        level: for writing, 1 to 9; None is the default, 6.
        model: name or file of a language model, or several.
        options: other fields of :class:`zllm.archive.options.WriteOptions` or ``ReadOptions``.

    A name that is written gets its file when that is whole and on the disk: after an error in the ``with`` block, what
    had the name before still has it. A file that can be sought is read with random access: :meth:`seek` decodes only
    the frames that are read, except if an archive was changed by ``zllm append`` and the like. Several threads may
    share a reader: each call is whole.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError, LimitError: for reading: it is not an archive, or not one
            that can be read.
        TypeError, ValueError: what is not a file, a mode or an option. UsageError is also a ValueError.
        OSError: it cannot be opened.
    """

    def __init__(
        self,
        file: StrOrBytesPath | BinaryIO,
        mode: str = "r",
        *,
        level: int | None = None,
        model: Model = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._source: Decoded | None = None
        self._reader: io.BufferedReader | None = None
        self._lock = threading.RLock()  # a reader's own does not hold for a whole line
        self._writer: Writer | None = None
        self._own: IO[bytes] | None = None
        self._finish: Callable[[], None] = lambda: None
        self._discard: Callable[[], None] = lambda: None
        kind = _MODES.get(mode)
        if kind is None:
            raise UsageError(f"mode must be r, w, x or a, with or without b, not {mode!r}")
        self.mode = "rb" if kind == "r" else "wb"
        if kind == "r" and level is not None:
            raise TypeError("a level is for writing")
        named = isinstance(file, (str, bytes, os.PathLike))
        if not named and not hasattr(file, "read" if kind == "r" else "write"):
            raise TypeError(f"file must be a name, or a binary file object that can be used with mode {mode!r}")
        self._name = os.fspath(cast("StrOrBytesPath", file)) if named else getattr(file, "name", None)
        self._file = cast(BinaryIO, file)
        if kind == "r":
            self._open_reader(reading(model, options), named=named)
        else:
            self._open_writer(kind, writing(level, model, options), named=named)

    def _open_reader(self, options: Any, *, named: bool) -> None:
        from zllm.streams.reading import Decoded

        if named:
            self._own = self._file = open(cast(str, self._name), "rb")  # noqa: SIM115
        try:
            self._source = Decoded(self._file, options)
        except BaseException:
            if self._own is not None:
                self._own.close()
            raise
        self._reader = io.BufferedReader(self._source, _BUFFER)

    def _open_writer(self, kind: str, options: Any, *, named: bool) -> None:
        from zllm.archive.target import Target
        from zllm.archive.writer import Writer

        if named and kind == "a" and os.path.lexists(cast(str, self._name)):
            self._append(cast(str, self._name), encrypted=options.encrypts)
        elif named:
            target = Target(os.fsdecode(cast(str, self._name)), replace=kind != "x")
            self._file, self._finish, self._discard = cast(BinaryIO, target.file), target.publish, target.discard
        try:
            self._writer = Writer(self._file, options)
        except BaseException:
            self._discard()
            raise

    def _append(self, name: str | bytes, *, encrypted: bool) -> None:
        """Have the file ready for another stream; if that does not become whole, the file is as it was."""
        from zllm.streams.reading import is_encrypted
        from zllm.tarface.opening import is_zllmfile

        file = open(name, "r+b")  # noqa: SIM115 - closed by one of the two below
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size and not is_zllmfile(cast(BinaryIO, file)):
            file.close()
            raise NotZllmError(f"{os.fsdecode(name)}: not a zllm archive: nothing can be added to it")
        if size and is_encrypted(cast(BinaryIO, file)) != encrypted:
            file.close()
            one, other = ("not encrypted", "would be") if encrypted else ("encrypted", "would not be")
            raise UsageError(f"{os.fsdecode(name)} is {one}, and the new stream {other}: readers refuse such a mixture")
        file.seek(size)

        def finish() -> None:
            file.flush()
            os.fsync(file.fileno())
            file.close()

        def discard() -> None:
            with contextlib.suppress(OSError):
                file.truncate(size)
            file.close()

        self._file, self._finish, self._discard = cast(BinaryIO, file), finish, discard

    @property
    def name(self) -> str | bytes | int:
        """The file's name. AttributeError: it has none."""
        if self._name is None:
            raise AttributeError("this file has no name")
        return self._name

    @property
    def warnings(self) -> list[str]:
        """What was passed over, or went other than asked, without harm: one line each."""
        seen = self._writer.warnings if self._writer is not None else []
        return [*seen, *(self._source.view.warnings if self._source is not None else [])]

    def __repr__(self) -> str:
        """Its name and mode."""
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__}{state} {self._name!r} mode={self.mode!r}>"

    # Reading

    def _reading(self) -> io.BufferedReader:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._reader is None:
            raise io.UnsupportedOperation("File not open for reading")
        return self._reader

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` decompressed bytes, all that are left if it is negative or None; fewer only at the end.

        Raises:
            DamagedError: the archive is damaged: at the end at the latest, even if all could be read.
            MissingCodecError, MissingModelError: what it was coded with is not here.
        """
        with self._lock:
            return self._read(self._reading().read(size), size)

    def _read(self, data: bytes, size: int | None) -> bytes:
        """``data``, as which ``size`` bytes came; at the end what is wrong with the archive is said."""
        if not data and size != 0:
            cast("Decoded", self._source).complain()
        return data

    def read1(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, of what is decoded already if there is something."""
        with self._lock:
            return self._read(self._reading().read1(_BUFFER if size < 0 else size), size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into ``buffer``; how many bytes."""
        with self._lock:
            count = self._reading().readinto(buffer)
            self._read(b"0" * bool(count), memoryview(buffer).nbytes)
            return count

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        """As :meth:`readinto`, of what is decoded already if there is something."""
        with self._lock:
            count = self._reading().readinto1(buffer)
            self._read(b"0" * bool(count), memoryview(buffer).nbytes)
            return count

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line with its newline, at most ``size`` bytes of it."""
        with self._lock:
            return self._read(self._reading().readline(-1 if size is None else size), size)

    def peek(self, size: int = 0, /) -> bytes:
        """Some bytes that the next read begins with, at least one before the end; the position stays."""
        with self._lock:
            return self._reading().peek(size)

    def __next__(self) -> bytes:
        """The next line."""
        if line := self.readline():
            return line
        raise StopIteration

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place of the decompressed data; its distance from the beginning.

        Raises:
            io.UnsupportedOperation: it is written, or cannot be sought.
        """
        with self._lock:
            return self._reading().seek(offset, whence)

    def tell(self) -> int:
        """Decompressed bytes from the beginning."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self._writer.tell() if self._writer is not None else self._reading().tell()

    # Writing

    def write(self, data: Buffer, /) -> int:
        """Take ``data``; how many bytes it is.

        Raises:
            OSError: the file cannot be written.
            VerificationError: what was coded does not decode to what was taken.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._writer is None:
            raise io.UnsupportedOperation("File not open for writing")
        return self._writer.write(memoryview(data).cast("B"))

    def flush(self) -> None:
        """Hand on to the system what has been coded: whole sections of 32 MiB. Only closing codes the rest."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        flush = getattr(self._file, "flush", None)
        if self._writer is not None and flush is not None:
            flush()

    # Both

    def readable(self) -> bool:
        """Whether it is read."""
        self._check_open()
        return self._reader is not None

    def writable(self) -> bool:
        """Whether it is written."""
        self._check_open()
        return self._writer is not None

    def seekable(self) -> bool:
        """Whether :meth:`seek` works."""
        self._check_open()
        return self._source is not None and self._source.seekable()

    def fileno(self) -> int:
        """The descriptor of the compressed file.

        Raises:
            OSError: it has none.
        """
        self._check_open()
        return self._file.fileno()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def close(self) -> None:
        """Complete the stream, and give the file its name; or end reading.

        Raises:
            OSError, VerificationError: as :meth:`write`: then no file gets the name.
        """
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._writer.close()
                self._finish()
        except BaseException:
            self.discard()
            raise
        self._end()

    def discard(self) -> None:
        """Give up: what was written does not become a file of that name."""
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._writer.abort()
                self._discard()
        finally:
            self._end()

    def _end(self) -> None:
        self._writer = None
        if self._own is not None:
            self._own.close()
        super().close()  # calls flush

    def __enter__(self) -> Self:
        """Itself."""
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; discard it after an error."""
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if getattr(self, "_writer", None) is not None and not self.closed:
            what = f"{self!r} was never closed: there is no such file"
            warnings.warn(what, ResourceWarning, source=self, stacklevel=2)
        with contextlib.suppress(Exception):
            self.discard()
