"""Archives taken apart into their parts, and put together from changed ones, whose checksums hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from zllm.format import ends, envelope
from zllm.format.envelope import Envelope, Kind


@dataclass(frozen=True)
class Part:
    """``offset`` is where the envelope begins."""

    offset: int
    envelope: Envelope
    body: bytes

    @property
    def body_at(self) -> int:
        """Where the body begins."""
        return self.offset + self.envelope.size

    @property
    def end(self) -> int:
        """Where the next part begins."""
        return self.offset + self.envelope.whole


def seed_of(data: bytes) -> int:
    """What the checksums of an archive are seeded with."""
    return envelope.seed_of(ends.read_header(data[: ends.HEADER_SIZE]))


def parts(data: bytes) -> list[Part]:
    """All parts of an archive, every checksum compared."""
    seed, at, found = seed_of(data), ends.HEADER_SIZE, []
    while at < len(data):
        own = envelope.parse(data[at : at + envelope.MAX_SIZE], seed)
        assert envelope.holds(seed, data[at : at + own.whole])
        found.append(Part(at, own, data[at + own.size : at + own.whole - envelope.CHECK_SIZE]))
        at += own.whole
    return found


def of_kind(data: bytes, kind: Kind) -> list[Part]:
    """The parts of one kind."""
    return [part for part in parts(data) if part.envelope.kind == kind]


def sealed(seed: int, own: Envelope, body: bytes) -> bytes:
    """A whole part. The envelope's length is the body's."""
    own = replace(own, length=len(body))
    front, check = envelope.seal(seed, own, body)
    return front + body + check


def changed(data: bytes, kind: Kind, change: Callable[[bytes], bytes], which: int = 0) -> bytes:
    """The archive with another body of a part, sealed; offsets in other parts are as they were."""
    part = of_kind(data, kind)[which]
    return data[: part.offset] + sealed(seed_of(data), part.envelope, change(part.body)) + data[part.end :]


def without_end(data: bytes) -> bytes:
    """The archive up to its directory."""
    return data[: of_kind(data, Kind.DIRECTORY)[-1].offset]


def with_end(data: bytes, directory: bytes, footer: bytes | None = None, flags: int = 0) -> bytes:
    """The archive up to its directory, then another one with this body, and a footer."""
    seed, last = seed_of(data), of_kind(data, Kind.DIRECTORY)[-1]
    first = sealed(seed, replace(last.envelope, flags=flags), directory)
    body = ends.pack_footer(len(first)) if footer is None else footer
    return data[: last.offset] + first + envelope.part(seed, Kind.FOOTER, last.envelope.sequence + 1, body)
