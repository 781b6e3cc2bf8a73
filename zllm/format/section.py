"""Section headers: what a reader of a pipe needs before a section's map and frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import limits
from zllm.format.wire import Reader, checksum32, put_varint

MAGIC = b"\xb5ZLS"
CONTINUED, CONTINUES, OPAQUE = 1, 2, 4
_KNOWN_FLAGS = CONTINUED | CONTINUES | OPAQUE
_IGNORED_FLAGS = 0xC0
_WHAT = "a section header"
_CHECK_SIZE = 4
_SHA_SIZE = 32
KNOWN_ANSWER_SIZE = 4
FRONT_SIZE = len(MAGIC) + 2
"""Bytes that tell the length of a header (:func:`size_of`)."""


@dataclass(frozen=True)
class ModelRef:
    """A model that frames use. ``size`` in bytes; ``arithmetic`` is the version of the integer arithmetic.

    ``known_answer``: the first :data:`KNOWN_ANSWER_SIZE` bytes of what the model answers to a fixed text, on every
    machine. ``origin``: where the model comes from, empty for one that zllm brings along. ``embedded``: its file is in
    the archive.
    """

    sha256: bytes
    name: str
    size: int
    arithmetic: int
    known_answer: bytes
    origin: str = ""
    embedded: bool = False


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
    return bytes(out) + header.map_check.to_bytes(_CHECK_SIZE, "little") + bytes([header.flags])


def read_fields(reader: Reader) -> SectionHeader:
    """The inverse of :func:`pack_fields`.

    Raises:
        DamagedError: a number is beyond its limit.
        UnsupportedVersionError: a reject-me flag is set that this version does not know.
    """
    number = reader.varint(1 << 40)
    stream_offset, stream_size = reader.varint(1 << 63), reader.varint(limits.WINDOW)
    map_size, map_raw_size = reader.varint(limits.MAX_MAP), reader.varint(limits.MAX_MAP)
    frames_size = reader.varint(limits.MAX_SECTION_FRAMES)
    map_check = reader.fixed(_CHECK_SIZE)
    flags = reader.fixed(1) & ~_IGNORED_FLAGS
    if flags & ~_KNOWN_FLAGS:
        raise UnsupportedVersionError(f"a section needs features (bits {flags:#x}) that this version does not have")
    return SectionHeader(number, stream_offset, stream_size, map_size, map_raw_size, frames_size, map_check, flags)


def pack_model(out: bytearray, model: ModelRef) -> None:
    """Append what is said of a model."""
    out += model.sha256 + model.known_answer
    put_varint(out, model.size)
    put_varint(out, model.arithmetic << 1 | model.embedded)
    for text in (model.name, model.origin):
        coded = text.encode("utf-8", "replace")[: limits.MAX_MODEL_NAME]
        out.append(len(coded))
        out += coded


def read_model(reader: Reader) -> ModelRef:
    """The inverse of :func:`pack_model`.

    Raises:
        DamagedError: it ends too early.
    """
    sha256, known_answer = reader.take(_SHA_SIZE), reader.take(KNOWN_ANSWER_SIZE)
    size, arithmetic = reader.varint(), reader.varint()
    name, origin = (reader.take(reader.fixed(1)).decode("utf-8", "replace") for _ in range(2))
    return ModelRef(sha256, name, size, arithmetic >> 1, known_answer, origin, bool(arithmetic & 1))


def pack(header: SectionHeader) -> bytes:
    """Magic, length of what follows, fields, models, checksum."""
    body = bytearray(pack_fields(header))
    body.append(len(header.models))
    for model in header.models:
        pack_model(body, model)
    front = bytearray(MAGIC)
    put_varint(front, len(body))
    front += body
    return bytes(front) + checksum32(front).to_bytes(_CHECK_SIZE, "little")


def size_of(front: bytes) -> int:
    """Length of the whole header, from its first :data:`FRONT_SIZE` bytes, whose magic the caller has compared.

    Raises:
        DamagedError: beyond the limit.
    """
    reader = Reader(front[len(MAGIC) :], _WHAT)
    size = reader.varint() + len(MAGIC) + reader.pos + _CHECK_SIZE
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
    if data[: len(MAGIC)] != MAGIC or checksum32(front).to_bytes(_CHECK_SIZE, "little") != check:
        raise DamagedError(f"{_WHAT} is damaged: its checksum does not hold")
    reader = Reader(front[len(MAGIC) :], _WHAT)
    if reader.varint() != reader.left:
        raise DamagedError(f"{_WHAT} is damaged: its length is wrong")
    fields = read_fields(reader)
    models = tuple(read_model(reader) for _ in range(reader.fixed(1)))
    reader.end()
    if len(models) > limits.MAX_MODELS:
        raise DamagedError(f"{_WHAT} is damaged: too many models")
    return replace(fields, models=models)
