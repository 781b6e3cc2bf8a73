"""The first and the last bytes of an archive: its header, and the body of its footer."""

from __future__ import annotations

import struct

from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError
from zllm.format.envelope import ID_SIZE, REJECT, SEALED, Envelope, Kind
from zllm.format.wire import Reader, checksum, varints

FORMAT_VERSION = 3
"""The version that is written. Readers accept :data:`ACCEPTED_VERSIONS`."""

ACCEPTED_VERSIONS = frozenset({3})
_CHECK_SIZE = 2
_FRONT_OF_1 = b"\1\0\0\0"  # what stood after the magic bytes in format 1, whose checksum was elsewhere
_SIZE_OF_2 = 12
_KEYS_FIELD = 2

FILE_MAGIC = b"\x8dZLM\r\n\x1a\n"
EMPTY = "not a zllm archive: it is empty"
_FRONT = struct.Struct("<8sBB")
FRONT_SIZE = _FRONT.size
"""Bytes of the header that do not depend on what is in the archive."""
HEADER_SIZE = _FRONT.size + ID_SIZE + _CHECK_SIZE


def pack_front(flags: int = 0) -> bytes:
    """Magic, version, flags: they can be written before the archive's id is known."""
    return _FRONT.pack(FILE_MAGIC, FORMAT_VERSION, flags)


def pack_rest(archive_id: bytes, flags: int = 0) -> bytes:
    """The rest of the header: id and checksum."""
    return archive_id + checksum(_CHECK_SIZE, pack_front(flags), archive_id)


def pack_header(archive_id: bytes, flags: int = 0) -> bytes:
    """The whole header."""
    return pack_front(flags) + pack_rest(archive_id, flags)


def damage(problem: DamagedError | NotZllmError) -> str:
    """What an error of :func:`read_header` says about a file that turned out to be an archive."""
    return str(problem) if isinstance(problem, DamagedError) else "the file header is damaged: wrong magic bytes"


def read_header(data: bytes) -> bytes:
    """The archive's id, from the first bytes of a file.

    Raises:
        NotZllmError: the magic bytes are others, or there are no bytes.
        DamagedError: the checksum does not match.
        UnsupportedVersionError: a version or a feature that this program does not read.
    """
    if not data:
        raise NotZllmError(EMPTY)
    if data[: len(FILE_MAGIC)] != FILE_MAGIC:
        raise NotZllmError("not a zllm archive (wrong magic bytes)")
    _check_older(data)
    if len(data) < HEADER_SIZE:
        raise DamagedError("the file header is damaged: it is not whole")
    if checksum(_CHECK_SIZE, data[: HEADER_SIZE - _CHECK_SIZE]) != data[HEADER_SIZE - _CHECK_SIZE : HEADER_SIZE]:
        raise DamagedError("the file header is damaged: its checksum does not match")
    _, version, flags = _FRONT.unpack(data[:FRONT_SIZE])
    _check_version(version)
    if flags & REJECT:
        raise UnsupportedVersionError(f"the archive needs features (bits {flags:#x}) that this version does not have")
    return data[FRONT_SIZE : FRONT_SIZE + ID_SIZE]


def _check_older(data: bytes) -> None:
    """Formats whose header has its checksum elsewhere."""
    if data[len(FILE_MAGIC) : _SIZE_OF_2] == _FRONT_OF_1:
        _check_version(1)
    fields = data[:FRONT_SIZE]
    if fields[8:9] == b"\2" and data[FRONT_SIZE:_SIZE_OF_2] == checksum(_CHECK_SIZE, fields):
        _check_version(2)


def _check_version(version: int) -> None:
    if version in ACCEPTED_VERSIONS:
        return
    if version < FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"the archive has format version {version}, this program reads version {FORMAT_VERSION}: a zllm from before"
            " its first release wrote it. Unpack it with that version, and pack it again with this one"
        )
    raise UnsupportedVersionError(
        f"the archive has format version {version}, this program reads version {FORMAT_VERSION}: it takes a newer zllm"
    )


def pack_footer(distance: int, keys: int = 0) -> bytes:
    """The body of a footer: how many bytes before its envelope that of the directory begins. ``keys``: in an encrypted
    archive, how many bytes before the directory the last part begins, which has its keys.
    """
    return varints([distance]) + (keys.to_bytes(_KEYS_FIELD, "little") if keys else b"")


def read_footer(body: bytes, *, sealed: bool = False) -> int:
    """How many bytes before the footer the directory begins; ``sealed``: of an encrypted archive.

    Raises:
        DamagedError: it does not say that, and nothing else.
    """
    return _read_footer(body, sealed=sealed)[0]


def read_keys(body: bytes) -> int:
    """How many bytes before the directory the last keys part of an encrypted archive begins, by its footer; 0 in
    others.

    Raises:
        DamagedError: it is not the body of a footer.
    """
    try:
        return _read_footer(body, sealed=True)[1]
    except DamagedError:
        return _read_footer(body, sealed=False)[1]


def _read_footer(body: bytes, *, sealed: bool) -> tuple[int, int]:
    reader = Reader(body, "the footer")
    distance, keys = reader.varint(1 << 62), reader.fixed(_KEYS_FIELD) if sealed else 0
    reader.end()
    return distance, keys


def footer_end(offset: int, directory: Envelope) -> int:
    """Where the footer ends that follows a directory which begins at ``offset``."""
    size = len(pack_footer(directory.whole, bool(directory.flags & SEALED)))
    return offset + directory.whole + Envelope(Kind.FOOTER, directory.sequence + 1, size).whole
