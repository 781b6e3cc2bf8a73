"""What encryption takes from libsodium (PyNaCl): pieces of bodies, and the slots that have an archive's key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zllm.errors import AuthenticationError, LimitError, MissingDependencyError, UsageError
from zllm.format import sealing
from zllm.format.envelope import Envelope
from zllm.format.sealing import KEY_SIZE, NONCE_SIZE, PASSPHRASE, RECIPIENT, SALT_SIZE, Keys, Slot
from zllm.format.wire import Reader, varints

ARGON2_KIB, ARGON2_PASSES = 256 << 10, 3
"""What trying a passphrase costs: libsodium's own choice for keys that are used for long ("moderate"), half a second on
one core. A part of the archive says it, so it may change."""
_LANES = 1  # libsodium's Argon2id has no other
_SLOT = b"zllm\3\1"
_SEALED_BOX = 32 + 16 + KEY_SIZE
_MOST = 1 << 32


@dataclass(frozen=True)
class Sealing:
    """The key of an archive, and the slots that it is in."""

    key: bytes
    slots: tuple[Slot, ...]


def bindings() -> Any:
    """libsodium, as PyNaCl has it.

    Raises:
        MissingDependencyError: PyNaCl is not installed.
    """
    try:
        import nacl.bindings
    except ImportError as exc:
        raise MissingDependencyError("pynacl", "pip install 'zllm[crypto]'", "encryption") from exc
    return nacl.bindings


def new_sealing(passphrase: str | None, recipients: Iterable[bytes]) -> Sealing:
    """A new key, and a slot for the passphrase, if there is one, and for each recipient's public key.

    Raises:
        UsageError: the passphrase is empty, a public key is not one, or there are more recipients than an archive can
            have.
        MissingDependencyError: PyNaCl is not installed.
    """
    sodium = bindings()
    key = os.urandom(KEY_SIZE)
    slots = [] if passphrase is None else [_passphrase_slot(key, passphrase)]
    for public in dict.fromkeys(recipients):
        try:
            slots.append(Slot(RECIPIENT, sodium.crypto_box_seal(key, public)))
        except (_crypto_error(), RuntimeError):  # a point of low order, with which anybody could read
            raise UsageError("a recipient's key cannot be one: it would keep no secret") from None
    if len(slots) > sealing.MOST_SLOTS:
        raise UsageError(f"an archive has {sealing.MOST_SLOTS} recipients at most")
    return Sealing(key, tuple(slots))


def _passphrase_slot(key: bytes, passphrase: str) -> Slot:
    salt, nonce = os.urandom(SALT_SIZE), os.urandom(NONCE_SIZE)
    own = _stretched(passphrase, salt, ARGON2_KIB, ARGON2_PASSES)
    wrapped = bindings().crypto_aead_xchacha20poly1305_ietf_encrypt(key, _SLOT, nonce, own)
    return Slot(PASSPHRASE, salt + varints([ARGON2_KIB, ARGON2_PASSES, _LANES]) + nonce + wrapped)


def normal(passphrase: str) -> bytes:
    """The bytes of a passphrase, whatever keyboard it was typed on.

    Raises:
        UsageError: it is empty, or no text.
    """
    import unicodedata

    if not isinstance(passphrase, str):  # what a function gave
        raise UsageError(f"a passphrase is text, not {type(passphrase).__name__}")

    if not passphrase:
        raise UsageError("the passphrase is empty")
    try:
        return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError("the passphrase has half of a surrogate pair in it, which is no character") from None


def _stretched(passphrase: str, salt: bytes, kib: int, passes: int) -> bytes:
    sodium = bindings()
    algorithm = sodium.crypto_pwhash_ALG_ARGON2ID13
    secret = normal(passphrase)
    try:
        found: bytes = sodium.crypto_pwhash_alg(KEY_SIZE, secret, salt, passes, kib << 10, algorithm)
    except (_crypto_error(), MemoryError):
        raise LimitError(f"trying the passphrase takes {kib << 10} bytes of memory, which are not to be had") from None
    return found


@dataclass(frozen=True)
class Cost:
    """What a passphrase slot asks for: salt, memory and passes of Argon2id; what is encrypted with the result."""

    salt: bytes
    kib: int
    passes: int
    nonce: bytes
    wrapped: bytes


def cost_of(slot: Slot) -> Cost | None:
    """What opening a passphrase slot costs; None: it is in a form that this program cannot open.

    Raises:
        DamagedError: it ends too early.
    """
    reader = Reader(slot.content, "a key slot")
    salt = reader.take(SALT_SIZE)
    kib, passes, lanes = reader.varint(_MOST), reader.varint(_MOST), reader.varint(_MOST)
    nonce, wrapped = reader.take(NONCE_SIZE), reader.take(KEY_SIZE + sealing.TAG_SIZE)
    reader.end()
    return Cost(salt, kib, passes, nonce, wrapped) if lanes == _LANES and kib >= 8 and passes else None


def open_passphrase(cost: Cost, passphrase: str) -> bytes | None:
    """The archive's key; None: it is another passphrase."""
    own = _stretched(passphrase, cost.salt, cost.kib, cost.passes)
    return _decrypted(cost.wrapped, _SLOT, cost.nonce, own)


def open_recipient(slot: Slot, secret: bytes) -> bytes | None:
    """The archive's key; None: the slot is for another recipient."""
    sodium = bindings()
    if len(slot.content) != _SEALED_BOX:
        return None
    try:
        found: bytes = sodium.crypto_box_seal_open(slot.content, sodium.crypto_scalarmult_base(secret), secret)
    except (_crypto_error(), ValueError, RuntimeError):
        return None
    return found


def seal(key: bytes, keys: Keys, seed: int, own: Envelope, body: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """The encrypted pieces of a body, which is in several parts; ``own`` is its envelope."""
    encrypt = bindings().crypto_aead_xchacha20poly1305_ietf_encrypt
    spans = list(sealing.pieces(own.length))
    source = _Joined(body)
    for number, begin, end in spans:
        data = source.take(end - begin - sealing.TAG_SIZE)
        about = sealing.bound(seed, keys, own, number, more=number < len(spans) - 1)
        yield encrypt(data, about, sealing.nonce(keys, own, number), key)


class _Joined:
    """Parts of a body, one after the other."""

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts = [memoryview(part) for part in parts]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        out = bytearray()
        while len(out) < size:
            piece = self._parts[0][: size - len(out)]
            out += piece
            self._parts[0] = self._parts[0][len(piece) :]
            if not self._parts[0]:
                del self._parts[0]
        return bytes(out)


def unseal(key: bytes, keys: Keys, seed: int, own: Envelope, body: bytes | memoryview, *, front: bool) -> bytes:
    """What :func:`seal` was given; ``front``: its first piece.

    Raises:
        AuthenticationError: it was something else.
        DamagedError: nothing has so many bytes, or such a number.
    """
    view = memoryview(body)
    spans = list(sealing.pieces(own.length))
    out = bytearray()
    for number, begin, end in spans[:1] if front else spans:
        about = sealing.bound(seed, keys, own, number, more=number < len(spans) - 1)
        piece = _decrypted(bytes(view[begin:end]), about, sealing.nonce(keys, own, number), key)
        if piece is None:
            raise AuthenticationError(
                f"part {own.sequence} of the archive is not what was encrypted there: it was changed, moved or replaced"
            )
        out += piece
    return bytes(out)


def _decrypted(data: bytes, about: bytes, nonce: bytes, key: bytes) -> bytes | None:
    try:
        found: bytes = bindings().crypto_aead_xchacha20poly1305_ietf_decrypt(data, about, nonce, key)
    except (_crypto_error(), ValueError):
        return None
    return found


def _crypto_error() -> type[Exception]:
    import nacl.exceptions

    found: type[Exception] = nacl.exceptions.CryptoError
    return found
