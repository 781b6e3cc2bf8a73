"""The first and the last bytes of an archive: file header and footer."""

from __future__ import annotations

import struct

from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError
from zllm.format import limits
from zllm.format.wire import checksum64

FORMAT_VERSION = 2
"""The version that is written. Readers accept :data:`ACCEPTED_VERSIONS`."""

ACCEPTED_VERSIONS = frozenset({2})
_FRONT_OF_1 = b"\1\0\0\0"  # what stood after the magic bytes in format 1, whose checksum was elsewhere

EMBEDDED = 0x10
"""Reject-me flag of file header and footer: there may be model blocks between the sections."""

FILE_MAGIC = b"\x8dZLM\r\n\x1a\n"
EMPTY = "not a zllm archive: it is empty"
_FILE = struct.Struct("<8sBB")
_CHECK16 = struct.Struct("<H")
FILE_HEADER_SIZE = _FILE.size + _CHECK16.size

FOOTER_MAGIC = b"\xb5ZLF"
_FOOTER = struct.Struct("<4sIBB")
_CHECK64 = struct.Struct("<Q")
FOOTER_SIZE = _FOOTER.size + _CHECK64.size

_REJECT = 0xF0
"""Flags that a reader must know; the others may be ignored."""


def pack_file_header(flags: int = 0) -> bytes:
    """Magic, version, flags, checksum."""
    fields = _FILE.pack(FILE_MAGIC, FORMAT_VERSION, flags)
    return fields + _CHECK16.pack(checksum64(fields) & 0xFFFF)


def check_file_header(data: bytes) -> None:
    """Raise what is wrong with the first bytes of a file.

    Raises:
        NotZllmError: the magic bytes are others, or there are no bytes.
        DamagedError: the checksum does not hold.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    if not data:
        raise NotZllmError(EMPTY)
    if data[: len(FILE_MAGIC)] != FILE_MAGIC:
        raise NotZllmError("not a zllm archive (wrong magic bytes)")
    if len(data) < FILE_HEADER_SIZE:
        raise DamagedError("the file header is damaged: it is not whole")
    if data[len(FILE_MAGIC) : FILE_HEADER_SIZE] == _FRONT_OF_1:
        check_version(1, 0)
    fields = data[: _FILE.size]
    if _CHECK16.unpack(data[_FILE.size : FILE_HEADER_SIZE])[0] != checksum64(fields) & 0xFFFF:
        raise DamagedError("the file header is damaged: its checksum does not hold")
    _, version, flags = _FILE.unpack(fields)
    check_version(version, flags)


def check_version(version: int, flags: int) -> None:
    """Refuse what cannot be read.

    Raises:
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    if version not in ACCEPTED_VERSIONS:
        raise UnsupportedVersionError(f"format version {version} is not one of those that this program reads")
    if flags & _REJECT & ~EMBEDDED:
        raise UnsupportedVersionError(f"the archive needs features (bits {flags:#x}) that this version does not have")


def pack_footer(block: bytes, flags: int = 0) -> bytes:
    """The last bytes of a file, for the index block that stands right before them."""
    fields = _FOOTER.pack(FOOTER_MAGIC, len(block), FORMAT_VERSION, flags)
    return fields + _CHECK64.pack(checksum64(block, fields))


def index_size(data: bytes) -> int:
    """Bytes of the index before a footer, as it says; :func:`check_footer` proves it.

    Raises:
        DamagedError: it is none.
    """
    if len(data) != FOOTER_SIZE or data[:4] != FOOTER_MAGIC:
        raise DamagedError("the footer is damaged: it is not where it should be")
    size: int = _FOOTER.unpack(data[: _FOOTER.size])[1]
    if size > limits.MAX_INDEX:
        raise DamagedError("the footer is damaged: the index cannot be that long")
    return size


def check_footer(data: bytes, block: bytes) -> None:
    """Compare a footer with the index block before it.

    Raises:
        DamagedError: one of them is damaged.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    fields, check = data[: _FOOTER.size], data[_FOOTER.size :]
    if index_size(data) != len(block) or check != _CHECK64.pack(checksum64(block, fields)):
        raise DamagedError("the index is damaged: its checksum does not hold")
    _, _, version, flags = _FOOTER.unpack(fields)
    check_version(version, flags)
