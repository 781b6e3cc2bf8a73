"""Where an archive ends, for a writer that goes on behind its footer: what it writes is one more generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from zllm.archive.cipher import Sealing
from zllm.archive.places import Layout
from zllm.archive.vault import Vault
from zllm.errors import UsageError
from zllm.format import ends
from zllm.format.sealing import NO_SALT, is_sealed
from zllm.format.section import OPAQUE


@dataclass(frozen=True)
class End:
    """All that a writer has to know of what is written already; nothing, if it begins.

    ``offset`` is where the next part goes, from the archive's header on, ``sequence`` its number. ``stream``: bytes of
    the tar stream. ``generation``: number of the next one. ``directory``: offset of the last one's. ``seed``: of the
    checksums; None before the archive has its id. ``models``: SHA-256 of those that are embedded. ``sealing``: how it
    is encrypted, if it is, and ``salt`` that of the last generation.
    """

    offset: int = 0
    sequence: int = 0
    stream: int = 0
    generation: int = 0
    directory: int = 0
    seed: int | None = None
    models: frozenset[bytes] = frozenset()
    sealing: Sealing | None = None
    salt: bytes = NO_SALT


BEGINNING = End()


def end_of(layout: Layout) -> End:
    """The end of the archive that ``layout`` is of, the only one in its file. Zeros behind it are written over, and so
    is a generation that was never finished.

    Raises:
        UsageError: nothing can be added to it: it is damaged, contains one raw stream, or something else follows it.
    """
    if layout.problem is not None or not layout.directories:
        raise UsageError("nothing can be added to a damaged archive: extract what is whole, and make a new one")
    if len({place.seed for place in layout.directories}) > 1 or any(row.base for row in layout.rows):
        raise UsageError("nothing can be added to several archives in one file")
    if any(row.header.flags & OPAQUE for row in layout.rows):
        raise UsageError("nothing can be added to an archive of one raw stream")
    if layout.rest:
        raise UsageError(f"nothing can be added before the {layout.rest} bytes behind the archive, which are others'")
    last = layout.directories[-1]
    directory = last.offset - layout.start
    sealing, salt = None, NO_SALT
    if is_sealed(last.envelope):
        vault = cast(Vault, layout.opener)
        sealing, salt = vault.sealing_of(last.seed), vault.salt_at(last.seed, last.envelope.sequence)
    return End(
        offset=ends.footer_end(directory, last.envelope),
        sequence=last.envelope.sequence + 2,
        stream=layout.rows[-1].header.stream_end if layout.rows else 0,
        generation=len(layout.directories),
        directory=directory,
        seed=last.seed,
        models=frozenset(layout.models),
        sealing=sealing,
        salt=salt,
    )
