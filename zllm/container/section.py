"""Section headers: what a reader of a pipe needs before a section's map and frames."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.container import limits
from zllm.container.wire import Reader, checksum64, put_varint
from zllm.errors import DamagedError, UnsupportedVersionError

MAGIC = b"\xb5ZLS"
CONTINUED, CONTINUES, OPAQUE = 1, 2, 4
_KNOWN_FLAGS = CONTINUED | CONTINUES | OPAQUE
_WHAT = "a section header"
_CHECK_SIZE = 8
_SHA_SIZE = 32


@dataclass(frozen=True)
class ModelRef:
    """A model that frames use. ``size`` in bytes; ``arithmetic`` is the version of the integer arithmetic."""

    sha256: bytes
    name: str
    size: int
    arithmetic: int


@dataclass(frozen=True)
class SectionHeader:
    """All sizes in bytes. ``stream_offset`` is where in the tar stream the section's part begins.

    Flags: CONTINUED (its first record's data continues the section before), CONTINUES (its last record's data goes on
    in the next), OPAQUE (the stream is no tar).
    """

    number: int
    stream_offset: int
    stream_size: int
    map_size: int
    map_raw_size: int
    frames_size: int
    map_check: int
    flags: int = 0
    models: tuple[ModelRef, ...] = ()

    @property
    def continued(self) -> bool:
        """The first record's data continues a member of the section before."""
        return bool(self.flags & CONTINUED)

    @property
    def continues(self) -> bool:
        """The last record's data goes on in the next section."""
        return bool(self.flags & CONTINUES)

    @property
    def body_size(self) -> int:
        """Bytes that follow the header: map and frames."""
        return self.map_size + self.frames_size


def pack_fields(header: SectionHeader) -> bytes:
    """The fields alone, as the index stores them too (there without the models)."""
    out = bytearray()
    for value in (
        header.number,
        header.stream_offset,
        header.stream_size,
        header.map_size,
        header.map_raw_size,
        header.frames_size,
    ):
        put_varint(out, value)
    return bytes(out) + header.map_check.to_bytes(8, "little") + bytes([0, header.flags])


def read_fields(reader: Reader, models: tuple[ModelRef, ...] = ()) -> SectionHeader:
    """The inverse of :func:`pack_fields`.

    Raises:
        DamagedError: a number is beyond its limit.
        UnsupportedVersionError: a reject-me flag is set that this version does not know.
    """
    number = reader.varint(1 << 40)
    stream_offset, stream_size = reader.varint(1 << 63), reader.varint(limits.WINDOW)
    map_size, map_raw_size = reader.varint(limits.MAX_MAP), reader.varint(limits.MAX_MAP)
    frames_size = reader.varint(limits.MAX_SECTION_FRAMES)
    map_check = reader.fixed(8)
    reader.fixed(1)  # ignore-me flags
    flags = reader.fixed(1)
    if flags & ~_KNOWN_FLAGS:
        raise UnsupportedVersionError(f"a section needs features (bits {flags:#x}) that this version does not have")
    return SectionHeader(
        number, stream_offset, stream_size, map_size, map_raw_size, frames_size, map_check, flags, models
    )


def pack(header: SectionHeader) -> bytes:
    """Magic, length of what follows, fields, models, checksum."""
    body = bytearray(pack_fields(header))
    body.append(len(header.models))
    for model in header.models:
        name = model.name.encode("utf-8", "replace")[: limits.MAX_MODEL_NAME]
        body += model.sha256
        put_varint(body, model.size)
        put_varint(body, model.arithmetic)
        body.append(len(name))
        body += name
    front = MAGIC + len(body).to_bytes(2, "little") + body
    return front + checksum64(front).to_bytes(_CHECK_SIZE, "little")


def size_of(front: bytes) -> int:
    """Length of the whole header, from its first 6 bytes (magic included, which the caller has compared).

    Raises:
        DamagedError: beyond the limit.
    """
    size = len(MAGIC) + 2 + int.from_bytes(front[4:6], "little") + _CHECK_SIZE
    if size > limits.MAX_SECTION_HEADER:
        raise DamagedError(f"{_WHAT} is damaged: impossible length")
    return size


def unpack(data: bytes) -> SectionHeader:
    """A whole header.

    Raises:
        DamagedError: checksum, lengths or fields do not hold.
        UnsupportedVersionError: it needs features that this version does not have.
    """
    front, check = data[:-_CHECK_SIZE], data[-_CHECK_SIZE:]
    if data[: len(MAGIC)] != MAGIC or checksum64(front).to_bytes(_CHECK_SIZE, "little") != check:
        raise DamagedError(f"{_WHAT} is damaged: its checksum does not hold")
    reader = Reader(front[len(MAGIC) + 2 :], _WHAT)
    fields = read_fields(reader)
    models = []
    for _ in range(reader.fixed(1)):
        sha256, size, arithmetic = reader.take(_SHA_SIZE), reader.varint(), reader.varint()
        models.append(ModelRef(sha256, reader.take(reader.fixed(1)).decode("utf-8", "replace"), size, arithmetic))
    reader.end()
    if len(models) > limits.MAX_MODELS:
        raise DamagedError(f"{_WHAT} is damaged: too many models")
    return SectionHeader(**{**fields.__dict__, "models": tuple(models)})
