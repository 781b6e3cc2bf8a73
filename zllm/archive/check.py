"""Decoding everything and comparing every hash, section after section, whatever members there are."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from zllm.archive.embedded import Embedded
from zllm.archive.fileview import FileView
from zllm.archive.sections import Section
from zllm.archive.view import TarView
from zllm.errors import DamagedError, ZllmError, renewed

_STEP = 1 << 20


class Checker:
    """``report`` is told of each member that is damaged or cannot be decoded: the error, and the member's name.

    ``percent``: how many of the frames are decoded, chosen at random, one at least; of the others the checksums alone
    are compared.
    """

    def __init__(self, view: TarView, report: Callable[[ZllmError, str], None], percent: int = 100) -> None:
        self._view = view
        self._percent = percent
        self._random = random.Random()
        self._sampled = False
        self._report = report
        self._sha = hashlib.sha256()
        self._next = -1  # where the data goes on of a member that spans sections; -1: there is none
        self._name = ""
        self._failed = False

    def run(self) -> None:
        """Check a file; or begin to check a pipe, whose sections follow as they are read."""
        view = self._view
        if isinstance(view, FileView):
            for section in view.sections():
                self.take(section)
                if isinstance(section, Section):
                    view.check_names(section)
            for embedded in view.decoders.embedded.values():
                self._models(embedded)
            for problem in view.unused():
                view.note(problem)
            return
        view.checked = self.take
        for section in view.here():
            self.take(section)

    def _models(self, embedded: Embedded | None) -> None:
        """All copies of a model."""
        while embedded is not None:
            try:
                embedded.check()
            except ZllmError as exc:
                self._view.note(exc)
            embedded = embedded.other

    def take(self, section: Section | ZllmError) -> None:
        """Check one section."""
        if not isinstance(section, Section):
            self._next = -1
            return
        if self._percent < 100:
            self._sample(section)
            return
        section.load_all()
        wrong: dict[int, ZllmError] = {}
        for number, record in enumerate(section.layout.records):
            if not record.data_size:
                continue
            try:
                if record.duplicate_of in wrong:
                    raise wrong[record.duplicate_of]
                if record.duplicate_of < 0:
                    self._record(section, number)
            except ZllmError as exc:
                wrong[number] = exc
                continued = number == 0 and section.header.continued
                if not (continued and self._failed):
                    self._report(exc, self._name if continued else record.name)
                self._failed = True
            else:
                self._failed = self._failed and number == 0 and section.header.continued
            self._name = record.name if record.headers else self._name

    def _sample(self, section: Section) -> None:
        """Check some frames of a section, and of the others the checksums."""
        layout = section.layout
        frames = range(len(layout.frames))
        chosen = {frame for frame in frames if self._random.random() * 100 < self._percent}
        if frames and not chosen and not self._sampled:
            chosen = {self._random.choice(frames)}
        self._sampled = self._sampled or bool(chosen)
        section.load(sorted(chosen))
        wrong: dict[int, ZllmError] = {}
        for frame in sorted(set(frames) - chosen):
            try:
                section.payload(frame)
            except ZllmError as exc:
                wrong[frame] = exc
        for number, record in enumerate(layout.records):
            if record.headers:
                self._name = record.name
            if not record.data_size or record.duplicate_of >= 0:
                continue
            try:
                self._some(section, number, chosen, wrong)
            except ZllmError as exc:
                self._report(exc, self._name)

    def _some(self, section: Section, number: int, chosen: set[int], wrong: dict[int, ZllmError]) -> None:
        """Check what of a record is in the frames that were chosen; all of it, if it is whole."""
        extents = section.layout.extents(number, 0, section.layout.records[number].data_size)
        cut = (number == 0 and section.header.continued) or (
            number == len(section.layout.records) - 1 and section.header.continues
        )
        if not cut and all(extent.frame in chosen for extent in extents):
            self._record(section, number)
            return
        offset = 0
        for extent in extents:
            if extent.frame in wrong:
                raise renewed(wrong[extent.frame])
            if extent.frame in chosen:
                section.read(number, offset, extent.size)
            offset += extent.size

    def _record(self, section: Section, number: int) -> None:
        layout = section.layout
        record = layout.records[number]
        start = section.header.stream_offset + layout.data_start(number)
        more = section.header.continues and number == len(layout.records) - 1
        if number == 0 and section.header.continued:
            known = self._next == start
        else:
            self._sha, known = hashlib.sha256(), True
        self._next = -1
        for offset in range(0, record.data_size, _STEP):
            data = section.read(number, offset, min(_STEP, record.data_size - offset), hashed=known)
            with self._view.decoders.run.stage("hashing", len(data)):
                if record.sha256 or more:  # what small members have in common is proved with their frames
                    self._sha.update(data)
        if more:
            self._next = start + record.data_size if known else -1
        elif record.sha256 and known and self._sha.digest() != record.sha256:
            raise DamagedError("its SHA-256 is not the one stored in the archive")
