"""The first and the last bytes of an archive: file header and footer."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zllm.container import limits
from zllm.container.wire import checksum64
from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError

FORMAT_VERSION = 1
"""The version that is written. Readers accept :data:`ACCEPTED_VERSIONS`."""

ACCEPTED_VERSIONS = frozenset({1})

EMBEDDED = 1
"""Reject-me flag of file header and footer: there may be model blocks between the sections."""

_KNOWN_FLAGS = EMBEDDED

FILE_MAGIC = b"\x8dZLM\r\n\x1a\n"
_FILE = struct.Struct("<8sBBBB")
_CHECK32 = struct.Struct("<I")
FILE_HEADER_SIZE = _FILE.size + _CHECK32.size

FOOTER_MAGIC = b"\xb5ZLF"
_FOOTER = struct.Struct("<4sQIQQBBBB")
_CHECK64 = struct.Struct("<Q")
FOOTER_SIZE = _FOOTER.size + _CHECK64.size


def pack_file_header(flags: int = 0) -> bytes:
    """Magic, version, ignore-me flags, reject-me flags, 0, checksum."""
    fields = _FILE.pack(FILE_MAGIC, FORMAT_VERSION, 0, flags, 0)
    return fields + _CHECK32.pack(checksum64(fields) & 0xFFFFFFFF)


def check_file_header(data: bytes) -> None:
    """Raise what is wrong with the first bytes of a file.

    Raises:
        NotZllmError: the magic bytes are others.
        DamagedError: the checksum does not hold.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    if data[: len(FILE_MAGIC)] != FILE_MAGIC:
        raise NotZllmError("not a zllm archive (wrong magic bytes)")
    if len(data) < FILE_HEADER_SIZE:
        raise DamagedError("the file header is damaged: it is not whole")
    fields = data[: _FILE.size]
    if _CHECK32.unpack(data[_FILE.size : FILE_HEADER_SIZE])[0] != checksum64(fields) & 0xFFFFFFFF:
        raise DamagedError("the file header is damaged: its checksum does not hold")
    _, version, _, reject, _ = _FILE.unpack(fields)
    check_version(version, reject)


def check_version(version: int, reject: int) -> None:
    """Refuse what cannot be read.

    Raises:
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    if version not in ACCEPTED_VERSIONS:
        raise UnsupportedVersionError(f"format version {version} is not one of those that this program reads")
    if reject & ~_KNOWN_FLAGS:
        raise UnsupportedVersionError(f"the archive needs features (bits {reject:#x}) that this version does not have")


@dataclass(frozen=True)
class Footer:
    """``index_offset`` from the file's start, sizes in bytes, ``index_check`` is xxh3-64 of the whole index block.

    ``flags`` are the reject-me flags, as in the file header.
    """

    index_offset: int
    index_size: int
    index_check: int
    members: int
    flags: int = 0


def pack_footer(footer: Footer) -> bytes:
    """The last bytes of a file."""
    fields = _FOOTER.pack(
        FOOTER_MAGIC,
        footer.index_offset,
        footer.index_size,
        footer.index_check,
        footer.members,
        FORMAT_VERSION,
        0,
        footer.flags,
        0,
    )
    return fields + _CHECK64.pack(checksum64(fields))


def unpack_footer(data: bytes) -> Footer:
    """A footer.

    Raises:
        DamagedError: it is none.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    fields, check = data[: _FOOTER.size], data[_FOOTER.size :]
    if len(data) != FOOTER_SIZE or fields[:4] != FOOTER_MAGIC or check != _CHECK64.pack(checksum64(fields)):
        raise DamagedError("the footer is damaged: its checksum does not hold")
    _, offset, size, digest, members, version, _, reject, _ = _FOOTER.unpack(fields)
    check_version(version, reject)
    if size > limits.MAX_INDEX:
        raise DamagedError("the footer is damaged: the index cannot be that long")
    return Footer(offset, size, digest, members, reject)
