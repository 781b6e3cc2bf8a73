"""Writes the parts of an archive one after the other: envelopes, checksums, numbers, the directory at the end."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from zllm.archive import cipher
from zllm.archive.resuming import BEGINNING, End
from zllm.format import directory, ends, envelope, frames, modelpart, notepart, sealing, section
from zllm.format.directory import Directory
from zllm.format.envelope import Envelope, Kind
from zllm.format.names import NameFilter
from zllm.format.parity import Cover
from zllm.format.sealing import SALT_SIZE, Keys

_COVERED = 64 << 20
"""Bytes of sections that a set of parity covers, at least, where more follow: so many are held."""


class Output(Protocol):
    """What an archive is written to."""

    def write(self, data: bytes, /) -> int | None:
        """As files have it."""


@dataclass(frozen=True)
class CodedSection:
    """A section with the bytes of its map and its frames, and the names of members that begin in it.

    ``sure``: they have these names, whatever came before; a global header may give others to all that follow.
    """

    header: section.SectionHeader
    blob: bytes
    frames: list[tuple[frames.FrameRow, bytes | memoryview]]
    names: list[str]
    sure: bool = True


class PartWriter:
    """Never goes back. The header's end, which has the archive's id, waits for the first section, which makes the id.

    ``parity``: share of the archive that its parity takes, about.
    ``notes``: come before the first section. An archive without members has none.
    ``end``: of an archive that is there already, where ``out`` has to be; what is written is its next generation.
    What it says of encryption holds for a new archive, too.
    All methods raise OSError if the output cannot be written.
    """

    def __init__(
        self, out: Output, end: End = BEGINNING, parity: float = 0.0, notes: Sequence[notepart.Note] = ()
    ) -> None:
        self.offset = end.offset
        """Bytes of the archive so far."""
        self._out = out
        self._end = end
        self._rows: list[directory.Row] = []
        self._names: list[list[str]] = []
        self._sure = True
        self._others: list[directory.OtherPart] = []
        self._cover = Cover(parity, self._parity) if parity else None
        self._sequence = end.sequence
        self._notes = list(notes)
        self._seed = end.seed
        self._keys: Keys | None = None  # of this generation, if it is encrypted

    def start(self) -> None:
        """Write what of the header does not depend on the content, and how the generation is encrypted."""
        if self._seed is None:
            self._put(ends.pack_front())
        if self._end.sealing is not None:
            end, slots = self._end, self._end.sealing.slots
            self._keys = Keys(end.generation, self._sequence, os.urandom(SALT_SIZE), end.salt, slots)
            self._keys_part()

    def _keys_part(self) -> int:
        """Write what says how the generation is encrypted; how many bytes it takes, 0 if it is not.

        It begins a generation, and stands before its directory once more: if one is damaged, nothing is lost.
        """
        if self._keys is None:
            return 0
        body = sealing.pack(self._keys)
        self._begin(Kind.KEYS, body)
        offset = self.offset
        own = self._part(Kind.KEYS, body)
        self._others.append(directory.OtherPart(offset, own))
        return own.whole

    def section(
        self, coded: CodedSection, models: Iterable[bytes | memoryview] = ()
    ) -> tuple[Envelope, list[int], int]:
        """Write a section, before it models that it needs.

        Returns:
            The section's envelope, the bytes of each frame in the file, and those of the models.
        """
        body = section.pack(coded.header) + coded.blob
        self._begin(Kind.SECTION, body)
        while self._notes:
            self._note(self._notes.pop(0))
        model_size = sum(self._model(model) for model in models)
        offset, sequence = self.offset, self._sequence
        own = self._part(Kind.SECTION, body)
        frames_at = self.offset
        sizes = [self._part(Kind.FRAME, row.front(), payload).whole for row, payload in coded.frames]
        row = directory.Row(
            offset, sequence, len(coded.names), coded.header, own.length, len(sizes), self.offset - frames_at,
            flags=own.flags,
        )  # fmt: skip
        self._rows.append(row)
        if self._cover is not None:
            self._cover.end_set(cast(int, self._seed), least=_COVERED)
        self._names.append(coded.names)
        self._sure = self._sure and coded.sure
        return own, sizes, model_size

    def finish(self, manifest: dict[str, Any], *, time: int = 0, deleted: Collection[bytes] = ()) -> int:
        """Write directory and footer; how many bytes they and the header, if it was written, take.

        ``time`` and ``deleted``: see :class:`directory.Directory`.
        """
        generation = self._end.generation
        if self._cover is not None and self._rows:
            self._cover.end_set(cast(int, self._seed))
        self._cover = None
        keys_size = self._keys_part()
        # The first generation's directory may be what completes the header; only later ones say where they are.
        back = self.offset - self._end.directory if generation else 0
        rows = self._directory_rows()
        body = directory.pack(Directory(rows, self._others, manifest, generation, time, back, deleted))
        self._begin(Kind.DIRECTORY, body)
        offset = self.offset
        self._part(Kind.DIRECTORY, body)
        self._part(Kind.FOOTER, ends.pack_footer(self.offset - offset, keys_size))
        return self.offset - offset + (0 if generation else ends.HEADER_SIZE)

    def _put(self, data: bytes | memoryview) -> None:
        """Write all of ``data``, however little the output takes at a time."""
        view = memoryview(data)
        if self._cover is not None:
            self._cover.add(data, self.offset)
        while view:
            count = self._out.write(view)  # type: ignore[arg-type]
            count = len(view) if count is None else count
            view = view[count:]
            self.offset += count

    def _begin(self, kind: Kind, body: bytes) -> None:
        """Complete the header, if that is still to be done: the body of the first section or the directory makes it."""
        if self._seed is None:
            archive_id = envelope.id_of(kind, body)
            self._seed = envelope.seed_of(archive_id)
            self._put(ends.pack_rest(archive_id))

    def _part(self, kind: Kind, *body: bytes | memoryview, flags: int = 0) -> Envelope:
        """Write a part, encrypted if it is to be; its envelope."""
        size, seed = sum(map(len, body)), cast(int, self._seed)
        own = Envelope(kind, self._sequence, size, flags)
        if self._keys is not None and self._end.sealing is not None and kind not in sealing.OPEN_KINDS:
            own = Envelope(kind, self._sequence, sealing.sealed_size(size), flags | envelope.SEALED)
            body = tuple(cipher.seal(self._end.sealing.key, self._keys, seed, own, body))
        front, check = envelope.seal(seed, own, *body)
        for piece in (front, *body, check):
            self._put(piece)
        self._sequence += 1
        return own

    def _parity(self, body: bytes) -> None:
        """Write a parity part, which no other covers."""
        offset, cover = self.offset, self._cover
        self._cover = None
        own = self._part(Kind.PARITY, body, flags=envelope.SKIP)
        self._cover = cover
        self._others.append(directory.OtherPart(offset, own))

    def _note(self, note: notepart.Note) -> None:
        """Write a note."""
        offset = self.offset
        own = self._part(Kind.NOTE, notepart.pack(note), flags=envelope.SKIP)
        self._others.append(directory.OtherPart(offset, own))

    def _model(self, data: bytes | memoryview) -> int:
        """Write a model file; how many bytes it takes."""
        offset = self.offset
        model, coded = modelpart.pack(data)
        own = self._part(Kind.MODEL, modelpart.pack_front(model), coded)
        self._others.append(directory.OtherPart(offset, own))
        return own.whole

    def _directory_rows(self) -> list[directory.Row]:
        """Of several sections, with filters of their members' names."""
        if len(self._rows) < 2 or not self._sure:
            return self._rows
        seed = cast(int, self._seed)
        filters = [NameFilter.of(names, seed) for names in self._names]
        return [replace(row, names=names) for row, names in zip(self._rows, filters, strict=True)]
