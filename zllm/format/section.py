"""Section headers: what the body of a section begins with, before its map."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import limits
from zllm.format.wire import Reader, put_varint, varints

CONTINUED, CONTINUES, OPAQUE = 1, 2, 4
_KNOWN_FLAGS = CONTINUED | CONTINUES | OPAQUE
_IGNORED_FLAGS = 0xC0
_WHAT = "a section header"
_SHA_SIZE = 32
KNOWN_ANSWER_SIZE = 4


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
    """What the body of a section begins with; the map is the rest of it. All sizes in bytes.

    ``stream_offset`` is where in the tar stream the section's part begins, ``columns_size`` what the columns of its map
    take unpacked. Flags: CONTINUED (its first record's data continues the section before), CONTINUES (its last
    record's data goes on in the next), OPAQUE (the stream is not a tar).
    """

    stream_offset: int
    stream_size: int
    columns_size: int
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
    def stream_end(self) -> int:
        """Where in the tar stream the section's part ends."""
        return self.stream_offset + self.stream_size


def pack_facts(header: SectionHeader) -> bytes:
    """The header without its models."""
    numbers = varints([header.stream_offset, header.stream_size, header.columns_size])
    return numbers + bytes([header.flags])


def read_facts(reader: Reader) -> SectionHeader:
    """The inverse of :func:`pack_facts`.

    Raises:
        DamagedError: a number is beyond its limit.
        UnsupportedVersionError: a reject-me flag is set that this version does not know.
    """
    stream_offset, stream_size = reader.varint(1 << 62), reader.varint(limits.WINDOW)
    columns_size = reader.varint(limits.MAX_MAP)
    flags = reader.fixed(1) & ~_IGNORED_FLAGS
    if flags & ~_KNOWN_FLAGS:
        raise UnsupportedVersionError(f"a section needs features (bits {flags:#x}) that this version does not have")
    return SectionHeader(stream_offset, stream_size, columns_size, flags)


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
    """The header; the map follows it."""
    out = bytearray(pack_facts(header))
    out.append(len(header.models))
    for model in header.models:
        pack_model(out, model)
    return bytes(out)


def read(body: bytes | memoryview) -> tuple[SectionHeader, int]:
    """The header of a section with this body, and where its map begins.

    Raises:
        DamagedError: a number is beyond its limit, or the body ends before the header does.
        UnsupportedVersionError: it needs features that this version does not have.
    """
    reader = Reader(body, _WHAT)
    facts = read_facts(reader)
    models = tuple(read_model(reader) for _ in range(reader.fixed(1)))
    if len(models) > limits.MAX_MODELS:
        raise DamagedError(f"{_WHAT} is damaged: too many models")
    return replace(facts, models=models), reader.pos
