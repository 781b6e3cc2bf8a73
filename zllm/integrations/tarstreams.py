"""Archives of other programs as tar streams, which is what a zllm archive holds: recognised, unpacked, compressed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, Protocol, cast

from zllm.errors import BrokenTarError, DamagedError, LockedError, MissingDependencyError, OtherFormatError, UsageError
from zllm.format.ends import FILE_MAGIC
from zllm.format.limits import BLOCK
from zllm.format.tarscan import Kind, TarScanner, valid

FORMATS = ("zllm", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "zip")
"""What can be written."""
HEAD = BLOCK
"""Bytes of a file that :func:`recognised` looks at."""

_MAGICS = (
    (FILE_MAGIC, "zllm"), (b"\x1f\x8b", "tar.gz"), (b"BZh", "tar.bz2"), (b"\xfd7zXZ\0", "tar.xz"),
    (b"\x28\xb5\x2f\xfd", "tar.zst"), (b"PK\3\4", "zip"), (b"PK\5\6", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z"),
)  # fmt: skip
_SUFFIXES = {
    **{f".{name}": name for name in FORMATS},
    ".tgz": "tar.gz", ".tbz": "tar.bz2", ".tbz2": "tar.bz2", ".txz": "tar.xz", ".tzst": "tar.zst",
}  # fmt: skip
_OPENERS: dict[str, Callable[[BinaryIO], object]] = {
    "tar.gz": gzip.open, "tar.bz2": bz2.open, "tar.xz": lzma.open,
}  # fmt: skip
_PIECE = 1 << 20
# Bytes of zstd that are decoded at a time: they may become 64 MiB, if somebody means harm.
_STEP = 2048


class Compressor(Protocol):
    """What zlib, bz2, lzma and zstandard have in common."""

    def compress(self, data: bytes, /) -> bytes:
        """Some of the compressed bytes."""

    def flush(self) -> bytes:
        """The rest of them."""


def recognised(head: bytes) -> str | None:
    """The format of a file that begins with ``head``: one of :data:`FORMATS` or ``7z``; None: another.

    That what ``tar.gz`` and its like unpack to is a tar archive remains to be seen (:class:`TarCheck`).
    """
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    return "tar" if len(head) >= BLOCK and (valid(head[:BLOCK]) or not any(head[:BLOCK])) else None


def named(name: str) -> str | None:
    """The format that a file of that name has; None if its name does not tell."""
    fits = [suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)]
    return _SUFFIXES[max(fits, key=len)] if fits else None


def compressor(kind: str, level: int) -> Compressor:
    """What makes a tar stream ``kind``, ``tar.gz`` and its like, at ``level`` 1 to 9 of that compressor's own.

    The same input gives the same bytes: nothing tells the time or a name.
    """
    if kind == "tar.gz":
        return zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    if kind == "tar.bz2":
        return bz2.BZ2Compressor(level)
    if kind == "tar.xz":
        return lzma.LZMACompressor(preset=level)
    import zstandard

    return zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()


def pieces(file: BinaryIO, kind: str) -> Iterator[bytes]:
    """The tar stream in ``file``, an archive of the format ``kind`` (neither ``zllm`` nor ``zip``), piece by piece.

    Raises:
        DamagedError: it is damaged or cut off.
        LockedError: it is encrypted.
        MissingDependencyError: it takes a program that is not installed.
        OSError: it cannot be read.
    """
    with translated(kind):
        if kind == "7z":
            yield from _by_bsdtar(file)
        elif kind == "tar.zst":
            yield from _zstd(file)
        elif kind == "tar":
            yield from _all_of(file)
        else:
            with cast("IO[bytes]", _OPENERS[kind](file)) as opened:
                yield from _all_of(opened)


def _all_of(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    frame, rest, inside = zstandard.ZstdDecompressor().decompressobj(), b"", False
    while data := rest or file.read(_STEP):
        if piece := frame.decompress(data):
            yield piece
        rest, inside = b"", not frame.eof
        if frame.eof:
            rest, frame = frame.unused_data, zstandard.ZstdDecompressor().decompressobj()
    if inside:
        raise EOFError("it ends in the middle")


def _by_bsdtar(file: BinaryIO) -> Iterator[bytes]:
    program = shutil.which("bsdtar")
    if program is None:
        raise MissingDependencyError("bsdtar", "install libarchive's tools (libarchive-tools)", "reading 7z archives")
    if not file.seekable():
        raise UsageError("a 7z archive is read from its end, which a pipe cannot be: name a file")
    os.lseek(file.fileno(), file.tell(), os.SEEK_SET)
    # Names are converted to the encoding of the locale. Without a terminal, no passphrase is asked for.
    surroundings = {**os.environ, "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [program, "--format=pax", "-cf", "-", "@-"], stdin=file.fileno(), stdout=subprocess.PIPE, stderr=said,
            env=surroundings, start_new_session=True,
        )  # fmt: skip
        try:
            assert child.stdout is not None
            while piece := child.stdout.read(_PIECE):
                yield piece
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        if code:
            said.seek(0)
            _complain(said.read(1 << 16).decode(errors="replace"))


def _complain(text: str) -> None:
    """Raise what bsdtar has said."""
    lines = [line for line in text.splitlines() if line and "Error exit delayed" not in line]
    reason = lines[0].removeprefix("bsdtar: ").removeprefix("Error reading archive -: ") if lines else ""
    if "encrypted" in reason:
        raise LockedError("the 7z archive is encrypted, which bsdtar cannot read: unpack it with 7z")
    if reason in ("", "(null)"):  # which is all that it says of some that are encrypted
        raise DamagedError("the 7z archive is damaged, cut off or encrypted: 7z t tells which")
    raise DamagedError(f"the 7z archive is damaged or cut off: {reason}")


@contextlib.contextmanager
def translated(kind: str) -> Iterator[None]:
    """What the libraries raise about an archive of the format ``kind``, raised as zllm's errors. Errors of files and
    disks pass, and so do zllm's own.

    Raises:
        DamagedError: it is damaged or cut off.
        OtherFormatError: it uses something that Python's library does not have.
    """
    import zstandard

    try:
        yield
    except NotImplementedError as error:
        raise OtherFormatError(f"the {kind} archive cannot be read: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(kind, error) from error
    except (
        EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile, UnicodeDecodeError
    ) as error:  # fmt: skip
        raise _damaged(kind, error) from error


def _damaged(kind: str, error: Exception) -> DamagedError:
    return DamagedError(f"the {kind} archive is damaged or cut off: {error}")


class TarCheck:
    """Looks at a tar stream that passes by: whether it is one, and whole.

    Args:
        raw: a stream that does not begin as a tar is not to be refused.
    """

    def __init__(self, *, raw: bool = False) -> None:
        self._raw = raw
        self._scanner = TarScanner()
        self._zeros = 0
        self._read = 0
        self.ended = False
        """The two blocks of zeros that end a tar were seen."""

    def feed(self, data: bytes) -> None:
        """Some more of the stream.

        Raises:
            OtherFormatError: it does not begin as a tar.
            BrokenTarError: something in it is not a header where one has to be.
        """
        self._read += len(data)
        for piece in self._scanner.feed(data):
            self._look(piece.kind, len(piece.data), fresh=piece.fresh)
        if self._scanner.opaque and not self._raw:
            raise _no_tar()

    def _look(self, kind: Kind, size: int, *, fresh: bool) -> None:
        if self.ended or self._scanner.opaque:  # what is behind the end, tar does not look at
            return
        if kind == Kind.ZERO and size == BLOCK:
            self._zeros += 1
            self.ended = self._zeros > 1
            return
        if kind != Kind.ZERO:
            self._zeros = 0
        if fresh and size == BLOCK:  # shorter ones are padding that is not zero
            raise BrokenTarError("the tar stream is damaged: there is something else where a header has to be")

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            OtherFormatError: it was not a tar.
            BrokenTarError: it breaks off.
        """
        whole = self._scanner.idle or self.ended
        for _ in self._scanner.finish():
            pass
        if self._raw and (self._scanner.opaque or not self._read):
            return
        if self._scanner.opaque or not (self._scanner.is_tar or self.ended):
            raise _no_tar()
        if not whole:
            raise BrokenTarError("the tar stream breaks off in the middle of a member")


def _no_tar() -> OtherFormatError:
    return OtherFormatError("what is in it is not a tar archive: unpack it, and pack what comes out with zllm create")


class Valve(io.RawIOBase):
    """Writes to ``out`` until it is shut: then what would complete a broken archive gets nowhere.

    ``seekable``: whether one may go back in ``out``.
    """

    def __init__(self, out: BinaryIO, *, seekable: bool) -> None:
        self._out = out
        self._seekable = seekable and out.seekable()
        self._shut = False

    def shut(self) -> None:
        """Write nothing any more."""
        self._shut = True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """As it was told."""
        return self._seekable

    def tell(self) -> int:
        """Where the next byte goes."""
        if not self._seekable:
            raise io.UnsupportedOperation("tell")
        return self._out.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As in files."""
        if not self._seekable:
            raise io.UnsupportedOperation("seek")
        return self._out.seek(offset, whence)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """All of it, or nothing once it is shut."""
        if not self._shut:
            self._out.write(data)
        return len(data)
