"""Searches where the next part of an archive is due and is not."""

from __future__ import annotations

import re

from zllm.errors import DamagedError, UnsupportedVersionError, ZllmError
from zllm.format import ends, envelope, repair
from zllm.format.beginning import Source
from zllm.format.envelope import SYNC

STEP = 1 << 16
_BETWEEN = "the archive is damaged: there are unknown bytes between its parts"
_HIT = re.compile(re.escape(SYNC) + b"[\1-\10]")
_HIT_BEHIND = re.compile(re.escape(SYNC) + b"[\1-\10]|" + re.escape(ends.FILE_MAGIC))
# Looking at a hit of a search costs more than its bytes, and is taken from the budget as so many of them.
_PER_HIT = 4096
_LOOK = max(ends.HEADER_SIZE, envelope.MAX_SIZE)


class Search:
    """What of a walk (:class:`zllm.format.parts.Walk`) goes on where something is damaged."""

    warnings: list[str]
    rest: int
    """Bytes behind the last archive that are not part of it."""
    _source: Source
    _tries: repair.Budget
    _seed: int
    _next: int
    _whole: bool

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged."""
        raise NotImplementedError

    def _goes_on(self, front: bytes, sequence: int | None = None) -> bool:
        """Whether a part of this archive is here that can follow: one of that number, if one is given."""
        try:
            found = envelope.parse(front[: envelope.MAX_SIZE], self._seed).sequence
        except DamagedError:
            return False
        return found == sequence if sequence is not None else found >= self._next

    def _garbage(self) -> None:
        """Bytes behind an archive that belong to none: ignored, unless more of it, or an archive, follows."""
        start = self._source.position
        while data := self._source.peek(STEP):
            last = len(data) < STEP
            for hit in _HIT_BEHIND.finditer(data):
                if not last and hit.start() and hit.start() + _LOOK > len(data):
                    self._source.skip(hit.start())
                    break
                if self._tries.spend(1, _PER_HIT) and self._may_follow(data[hit.start() : hit.start() + _LOOK]):
                    self._source.skip(hit.start())
                    self.note(DamagedError(_BETWEEN))
                    return
            else:
                self._source.skip(len(data) if last else len(data) - len(ends.FILE_MAGIC) + 1)
        self.rest = count = self._source.position - start
        self.warnings.append(f"{count} bytes after the end of the archive are not part of it: ignored")

    def _may_follow(self, front: bytes) -> bool:
        if front[: len(SYNC)] == SYNC:
            return self._goes_on(front)
        try:
            ends.read_header(front)
        except DamagedError:
            return False
        except UnsupportedVersionError:
            pass
        return True

    # Where one was due and is not

    def _search(self) -> None:
        """Go on to the next place that looks like the start of a part of this archive."""
        self._source.skip(1)
        while data := self._source.peek(STEP):
            for hit in _HIT.finditer(data):
                place = hit.start()
                if place and place + envelope.MAX_SIZE > len(data) == STEP:
                    self._source.skip(place)
                    break
                if self._tries.spend(1, _PER_HIT) and self._goes_on(data[place : place + envelope.MAX_SIZE]):
                    self._source.skip(place)
                    self._whole = False
                    return
            else:
                self._source.skip(max(1, len(data) - envelope.MAX_SIZE))
