"""An open archive as the stream that went into it."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from zllm.archive import layout
from zllm.archive.archive import Archive
from zllm.archive.coding import Decoders
from zllm.archive.fileview import FileView
from zllm.archive.options import ReadOptions
from zllm.archive.pipe import PipeView
from zllm.archive.readinto import ReadInto
from zllm.archive.state import StateStream
from zllm.archive.vault import Vault
from zllm.archive.view import TarView
from zllm.errors import LockedError, renewed


def is_encrypted(file: BinaryIO) -> bool:
    """Whether the archive in a seekable file, from its position on, is encrypted. The position stays."""
    try:
        layout.is_changed(file)
    except LockedError:
        return True
    return False


class Decoded(ReadInto, io.RawIOBase):
    """The bytes that went into the archive in ``file``, from its position on; of one that was changed, the tar stream
    of what is in it now.

    A file that can be sought is sought; then this can be sought, too, without decoding what is passed over, unless the
    archive was changed. Anything else is read once, from front to end. ``file`` stays open.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError, LimitError, LockedError, UsageError: as
            :class:`zllm.archive.archive.Archive`.
    """

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__()
        seekable = getattr(file, "seekable", None)
        self._stream: io.RawIOBase
        vault = Vault(options, options.limits)
        if seekable is None or not seekable():
            self.view: TarView = PipeView(file, Decoders(options), options.limits, options.generation, vault)
            vault.check()
            self._stream = self.view
        else:
            changed = options.generation is not None or layout.is_changed(file, options.limits, vault)
            archive = Archive(file, options, vault=vault)
            self.view = archive.view
            self._stream = StateStream(archive, cast(FileView, self.view)) if changed else self.view
        self.view.everything = True
        self._told = False
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Whether it is of a file that can be sought, and was never changed."""
        return self._stream is self.view and self.view.seekable()

    def tell(self) -> int:
        """Bytes from the stream's beginning."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files have it.

        Raises:
            io.UnsupportedOperation: it cannot be sought.
            OSError, ValueError: a place before the beginning, or another ``whence`` than 0, 1 and 2.
        """
        if not self.seekable():
            raise io.UnsupportedOperation("this stream cannot be sought: its archive is read from front to end")
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"invalid whence: {whence}")
        before = self._position
        self._position = self.view.seek(offset, whence)
        if self._position not in (before, 0):
            self.view.everything = False  # no frames but those that are read
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, all that is left if it is negative; fewer at the end, where :meth:`complain` says the rest.

        Raises:
            DamagedError: the archive is damaged.
            MissingCodecError, MissingModelError: what it was coded with is not here.
        """
        data = self._stream.read(-1 if size is None else size) or b""
        self._position += len(data)
        if size is None or size < 0:
            self.complain()
        return data

    def readall(self) -> bytes:
        """All that is left."""
        return self.read(-1)

    def complain(self) -> None:
        """Say once what is wrong with the archive, when its end has been reached.

        Raises:
            DamagedError: it is damaged, even if all could be read.
        """
        if self.view.problem is not None and not self._told:
            self._told = True
            raise renewed(self.view.problem)
