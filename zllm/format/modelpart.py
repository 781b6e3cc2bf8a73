"""Model parts: a model file inside an archive, before the first section whose frames need it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import envelope, limits, repair, sealing
from zllm.format.limits import DEFAULT, Limits
from zllm.format.payloads import compress, decompress
from zllm.format.wire import MAX_VARINT_BYTES, Reader, varints

STORE, ZSTD = 0, 2
"""How the file is coded, by the numbers of codecs."""

_SHA_SIZE = 32
FRONT_SIZE = 1 + MAX_VARINT_BYTES + _SHA_SIZE
"""Most bytes of the body before the coded file."""
_WHAT = "an embedded model"
# Of int8 weights only their uneven distribution can be saved. Of the model `fast`, 1.76 MB, level 3 takes 11.3% off in
# 2 ms, level 19 12.4% in 130 ms; context mixing (codec 4) 14.1% in 2,900 ms, and as much again for every reader.
_LEVEL = 3


@dataclass(frozen=True)
class ModelFile:
    """What the body says before the coded file. Sizes in bytes."""

    sha256: bytes
    size: int
    coded_size: int
    coding: int


def pack(data: bytes | memoryview) -> tuple[ModelFile, bytes | memoryview]:
    """What is said of a model file, and the file coded as it comes out smaller."""
    packed = compress(data, _LEVEL)
    small = len(packed) < len(data) and len(data) <= limits.MAX_MODEL_RATIO * len(packed)
    coding, coded = (ZSTD, packed) if small else (STORE, data)
    return ModelFile(hashlib.sha256(data).digest(), len(data), len(coded), coding), coded


def pack_front(model: ModelFile) -> bytes:
    """Coding, size, hash; the coded file follows."""
    return bytes([model.coding]) + varints([model.size]) + model.sha256


def read_front(body: bytes | memoryview, length: int, allowed: Limits = DEFAULT) -> ModelFile:
    """What a body of ``length`` bytes says, from its first :data:`FRONT_SIZE` bytes.

    Raises:
        DamagedError: it contradicts itself or a limit.
        UnsupportedVersionError: the file is coded by a codec that this version does not know.
    """
    reader = Reader(body, _WHAT)
    coding, size = reader.byte(), reader.varint(min(limits.MAX_MODEL, allowed.model_bytes))
    sha256 = reader.take(_SHA_SIZE)
    coded_size = length - reader.pos
    if coding not in (STORE, ZSTD):
        raise UnsupportedVersionError(f"{_WHAT} is coded by a codec ({coding}) that this version does not know")
    if not 0 <= coded_size <= size or size > allowed.model_ratio * coded_size:
        raise DamagedError(f"{_WHAT} is damaged: impossible size")
    return ModelFile(sha256, size, coded_size, coding)


def read_beginning(
    data: bytes, own: envelope.Envelope, seed: int, allowed: Limits = DEFAULT, opener: sealing.Opener = sealing.LOCKED
) -> ModelFile:
    """What the body of a part says, from its first :func:`beginning` bytes.

    Raises:
        DamagedError, UnsupportedVersionError: as :func:`read_front`.
        AuthenticationError: it is not what was encrypted.
    """
    if not sealing.is_sealed(own):
        return read_front(data, own.length, allowed)
    front = opener.open(seed, own, data, front=True)
    return read_front(front[:FRONT_SIZE], sealing.opened_size(own.length), allowed)


def read_corrected(
    rest: bytes, own: envelope.Envelope, seed: int, allowed: Limits, opener: sealing.Opener
) -> ModelFile:
    """As :func:`read_beginning`, of all that follows the envelope, one byte of which may be wrong.

    Raises:
        DamagedError: more than that is.
        AuthenticationError: nothing is wrong with its checksum.
    """
    fixed = repair.body(own.pack(seed), rest, seed, repair.Budget())
    if fixed is None:
        raise DamagedError(f"{_WHAT} is damaged: its checksum does not match")
    return read_beginning(fixed[: beginning(own)], own, seed, allowed, opener)


def beginning(own: envelope.Envelope) -> int:
    """Bytes of a part's body that are needed to know what it says before the coded file."""
    size = sealing.PIECE + sealing.TAG_SIZE if sealing.is_sealed(own) else FRONT_SIZE
    return min(size, own.length)


def unpack(
    part: bytes | memoryview,
    at: int,
    seed: int,
    allowed: Limits = DEFAULT,
    opened: Callable[[memoryview], bytes] | None = None,
) -> tuple[bytes, bytes | memoryview]:
    """SHA-256 and bytes of the model file, from a whole part whose body begins at ``at``; ``opened``: what is in that,
    if it is encrypted.

    Raises:
        DamagedError: it is not the one that the part promises.
        UnsupportedVersionError: the file is coded by a codec that this version does not know.
    """
    if not envelope.holds(seed, part):
        raise DamagedError(f"{_WHAT} is damaged: its checksum does not match")
    body = memoryview(part)[at : -envelope.CHECK_SIZE]
    if opened is not None:
        body = memoryview(opened(body))
    model = read_front(body[:FRONT_SIZE], len(body), allowed)
    coded = body[len(body) - model.coded_size :]
    data = coded if model.coding == STORE else decompress(bytes(coded), model.size, _WHAT)
    if len(data) != model.size or hashlib.sha256(data).digest() != model.sha256:
        raise DamagedError(f"{_WHAT} is damaged: its SHA-256 does not match")
    return model.sha256, data
