"""Sealed bodies: how the body of a part is cut into encrypted pieces, what each of them is bound to, and the part that
says how a generation is encrypted (``docs/zllm-format.md``, "Sealed bodies").

Nothing is encrypted here: :mod:`zllm.archive.cipher` does that, and readers are given an :class:`Opener`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from zllm.errors import DamagedError, LockedError, UnsupportedVersionError
from zllm.format import envelope, limits
from zllm.format.envelope import SEALED, Envelope, Kind
from zllm.format.wire import Reader, put_varint

CONSTRUCTION = 1
"""XChaCha20-Poly1305, in pieces."""
TAG_SIZE, SALT_SIZE, KEY_SIZE, NONCE_SIZE = 16, 16, 32, 24
PIECE = 1 << 20
"""Bytes of a body that are encrypted together; what is left is the last piece. So a reader never holds more of what is
not proved, and has the first bytes of a long body without reading all of it."""
PASSPHRASE, RECIPIENT = 1, 2
"""Types of slots."""
MOST_SLOTS = limits.MAX_SLOTS
OPEN_KINDS = frozenset({Kind.KEYS, Kind.FOOTER, Kind.PARITY})
"""Parts of an encrypted archive that are not encrypted."""
NO_SALT = bytes(SALT_SIZE)

NO_KEY = "the archive is encrypted, and no key was given"
MIXED = "the archive was tampered with: a part of it is not encrypted, as all others are"
SEALED_ALONE = "a part is encrypted, and there are no keys for it"
_WHAT = "the keys of the archive"
_VERSION = b"zllm\3"
_BOUND = struct.Struct("<QBBQBIB")
_MOST_NUMBER, _MOST_PIECES = 1 << 48, 1 << 16


@dataclass(frozen=True)
class Slot:
    """The archive's key, encrypted for one passphrase or one recipient."""

    kind: int
    content: bytes


@dataclass(frozen=True)
class Keys:
    """How a generation is encrypted: the body of a part of kind ``keys``.

    ``first`` is the number of the generation's first part, ``salt`` is its own, ``before`` that of the generation
    before it, :data:`NO_SALT` if there is none.
    """

    generation: int
    first: int
    salt: bytes
    before: bytes = NO_SALT
    slots: tuple[Slot, ...] = ()


class Opener(Protocol):
    """What opens sealed bodies for readers."""

    @property
    def keyless(self) -> bool:
        """Sealed parts are passed on as they are: nobody looks into them."""

    def knows(self, seed: int) -> bool:
        """Whether keys of that archive have come by."""

    def take(self, seed: int, number: int, body: bytes) -> None:
        """The keys part of that number came by.

        Raises:
            LockedError: none of the keys that were given opens the archive.
            DamagedError: it contradicts itself, or other copies of it.
            UnsupportedVersionError: the archive is encrypted in another way.
            LimitError: trying a passphrase would take more than is allowed.
        """

    def open(self, seed: int, own: Envelope, body: bytes | memoryview, *, front: bool = False) -> bytes:
        """What is in a sealed body; ``front``: ``body`` is its first piece, or more.

        Raises:
            AuthenticationError: it is not what was written there.
            LockedError: there are no keys.
        """


class Locked:
    """An :class:`Opener` without any key."""

    keyless = False

    def knows(self, seed: int) -> bool:
        """None."""
        return self.keyless

    def take(self, seed: int, number: int, body: bytes) -> None:
        """Says so."""
        unpack(body)
        raise LockedError(NO_KEY)

    def open(self, seed: int, own: Envelope, body: bytes | memoryview, *, front: bool = False) -> bytes:
        """Says so."""
        raise LockedError(NO_KEY)


class Keyless(Locked):
    """For those who look at parts without looking into them."""

    keyless = True

    def take(self, seed: int, number: int, body: bytes) -> None:
        """Whatever it says."""


LOCKED: Opener = Locked()


def sealed_size(size: int) -> int:
    """Bytes of a sealed body with ``size`` bytes in it."""
    return size + TAG_SIZE * max(1, -(-size // PIECE))


def opened_size(length: int) -> int:
    """Bytes in a sealed body of ``length`` bytes.

    Raises:
        DamagedError: it cannot have so many bytes.
    """
    return length - TAG_SIZE * sum(1 for _ in pieces(length))


def pieces(length: int) -> Iterator[tuple[int, int, int]]:
    """Of a sealed body of ``length`` bytes: the number of each piece, where it begins and where it ends.

    Raises:
        DamagedError: it cannot have so many bytes.
    """
    step = PIECE + TAG_SIZE
    count = max(1, -(-length // step))
    if length - (count - 1) * step < TAG_SIZE or count > _MOST_PIECES:
        raise DamagedError(f"the archive is damaged: an encrypted part of {length} bytes cannot be")
    for number in range(count):
        yield number, number * step, min((number + 1) * step, length)


def nonce(keys: Keys, own: Envelope, piece: int) -> bytes:
    """What a piece is encrypted with, beside the key; never the same twice.

    Raises:
        DamagedError: no archive has a part of that number.
    """
    if own.sequence >= _MOST_NUMBER:
        raise DamagedError("the archive is damaged: the number of an encrypted part cannot be")
    return keys.salt + (own.sequence | piece << 48).to_bytes(8, "little")


def bound(seed: int, keys: Keys, own: Envelope, piece: int, *, more: bool) -> bytes:
    """The associated data of a piece: archive, generation, part, place in it, and whether more follows."""
    last = own.kind == Kind.DIRECTORY
    fields = _BOUND.pack(keys.generation, own.kind, own.flags, own.sequence, last, piece, more)
    return _VERSION + seed.to_bytes(envelope.ID_SIZE, "little") + keys.before + fields


def is_sealed(own: Envelope) -> bool:
    """Whether a part's body is encrypted."""
    return bool(own.flags & SEALED)


def pack(keys: Keys) -> bytes:
    """The body of a keys part."""
    out = bytearray([CONSTRUCTION])
    put_varint(out, keys.generation)
    put_varint(out, keys.first)
    out += keys.salt + keys.before
    put_varint(out, len(keys.slots))
    for slot in keys.slots:
        out.append(slot.kind)
        put_varint(out, len(slot.content))
        out += slot.content
    return bytes(out)


def unpack(body: bytes) -> Keys:
    """The inverse of :func:`pack`.

    Raises:
        DamagedError: it contradicts itself or a limit.
        UnsupportedVersionError: another construction.
    """
    reader = Reader(body, _WHAT)
    if reader.byte() != CONSTRUCTION:
        raise UnsupportedVersionError("the archive is encrypted in a way that this version of zllm does not know")
    generation, first = reader.varint(1 << 32), reader.varint(_MOST_NUMBER)
    salt, before = reader.take(SALT_SIZE), reader.take(SALT_SIZE)
    count = reader.varint(limits.MAX_SLOTS)
    slots = tuple(Slot(reader.byte(), reader.take(reader.varint(limits.MAX_KEYS))) for _ in range(count))
    reader.end()
    return Keys(generation, first, salt, before, slots)
