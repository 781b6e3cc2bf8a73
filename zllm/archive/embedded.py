"""Models that are inside the archive, on behalf of readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zllm.archive.layout import Place
from zllm.errors import DamagedError, ModelError
from zllm.format import modelpart, repair, sealing
from zllm.format.envelope import Envelope, holds
from zllm.format.limits import DEFAULT, Limits
from zllm.format.section import ModelRef

if TYPE_CHECKING:
    from zllm.models.store import Model


CORRECTED = "one byte of an embedded model was wrong and is corrected, nothing is lost"
_Fetched = tuple[bytes, "bytes | memoryview", bool]
"""SHA-256, file, and whether it is corrected."""


@dataclass
class Embedded:
    """A model in the archive. ``fetch`` gives its SHA-256 and its file, and may raise DamagedError.

    ``other`` is another copy, in one of several archives that are read as one.
    """

    fetch: Callable[[], _Fetched]
    other: Embedded | None = None
    corrected: bool = False
    """One byte was wrong, when it was fetched last."""

    def load(self, ref: ModelRef) -> Model:
        """The model, from memory: nothing is installed.

        Raises:
            DamagedError: it is damaged, or is another one.
        """
        copy: Embedded | None = self
        problem: Exception | None = None
        while copy is not None:  # there may be thousands
            try:
                return copy._parsed(ref)
            except (DamagedError, ModelError) as exc:
                copy, problem = copy.other, exc
        raise DamagedError(
            f"the embedded model {ref.name!r} (sha256 {ref.sha256.hex()}, {ref.size} bytes) cannot be used: {problem}."
            " Pass its file with --model FILE.zlm, if there is another copy"
        ) from problem

    def _parsed(self, ref: ModelRef) -> Model:
        from zllm.models import store

        sha256, data, self.corrected = self.fetch()
        if sha256 != ref.sha256:
            raise DamagedError("another model is in its place")
        return store.parse(data, Path(f"{ref.name} (embedded)"))

    def data(self) -> bytes | memoryview:
        """The model's file.

        Raises:
            DamagedError: it is damaged.
        """
        return self.fetch()[1]

    def check(self) -> None:
        """Decode the model, and compare every checksum.

        Raises:
            DamagedError: it is damaged.
        """
        *_, self.corrected = self.fetch()
        if self.corrected:
            raise DamagedError(CORRECTED)


def in_file(
    file: BinaryIO,
    place: Place,
    other: Embedded | None = None,
    limits: Limits = DEFAULT,
    *,
    mend: Callable[[int], bool] = lambda _: False,
    opener: sealing.Opener = sealing.LOCKED,
) -> Embedded:
    """The model at a place of a seekable file. Nothing is read yet. ``mend``: whether parity mends the part there."""

    def fetch() -> _Fetched:
        try:
            return read()
        except DamagedError:
            if not mend(place.offset):
                raise
        return read()

    def read() -> _Fetched:
        file.seek(place.offset)
        part = file.read(place.envelope.whole)
        if len(part) < place.envelope.whole:
            raise DamagedError("the archive ends inside it")
        return _unpacked(part, place.envelope, place.seed, limits, opener)

    return Embedded(fetch, other)


def in_memory(  # noqa: PLR0917
    part: bytes,
    envelope: Envelope,
    seed: int,
    other: Embedded | None = None,
    limits: Limits = DEFAULT,
    opener: sealing.Opener = sealing.LOCKED,
) -> Embedded:
    """A model that came by in a pipe."""
    return Embedded(lambda: _unpacked(part, envelope, seed, limits, opener), other)


def _unpacked(part: bytes, envelope: Envelope, seed: int, limits: Limits, opener: sealing.Opener) -> _Fetched:
    """The model, whose envelope is as it should be, whatever stands in its place. One wrong byte is corrected, which
    its SHA-256 proves.
    """
    front = envelope.pack(seed)
    opened = partial(opener.open, seed, envelope) if sealing.is_sealed(envelope) else None
    whole = part if part[: len(front)] == front else front + part[len(front) :]
    if not holds(seed, whole):
        fixed = repair.body(front, whole[len(front) :], seed, repair.Budget())
        if fixed is not None:
            return *modelpart.unpack(front + fixed, len(front), seed, limits, opened), True
    return *modelpart.unpack(whole, len(front), seed, limits, opened), False


def match(embedded: dict[bytes, Embedded], wanted: Iterable[ModelRef]) -> None:
    """Give models that have another SHA-256 than any that is needed, for that is damaged, to those that have none."""
    refs = {model.sha256: model for model in wanted if model.embedded}
    missing = [sha256 for sha256 in refs if sha256 not in embedded]
    spare = [sha256 for sha256 in embedded if sha256 not in refs]
    for sha256, damaged in zip(missing, spare, strict=False):
        embedded[sha256] = embedded[damaged]
