"""The hash of a member that is read from front to end."""

from __future__ import annotations

import hashlib

from zllm.archive.sections import Section
from zllm.errors import DamagedError


class Hasher:
    """Hashes a member while it is read from front to end, and compares at its end."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._next = -1
        self._first = -1
        self.verified = -1
        """Where the data of the member began that was last read whole, with the right hash."""

    def follows(self, section: Section, number: int, offset: int) -> bool:
        """Whether what is read there goes on with a member that was read from its beginning, or begins one."""
        begins = offset == 0 and not (number == 0 and section.header.continued)
        return begins or section.header.stream_offset + section.layout.data_start(number) + offset == self._next

    def take(self, section: Section, number: int, offset: int, data: bytes) -> None:
        """``data`` was read from a record's data.

        Raises:
            DamagedError: the member is whole now and its SHA-256 is another one.
        """
        layout = section.layout
        position = section.header.stream_offset + layout.data_start(number) + offset
        continued = number == 0 and section.header.continued
        if offset == 0 and not continued:
            self._sha, self._first = hashlib.sha256(), position
        elif position != self._next:
            self._next = -1
            return
        self._next = position + len(data)
        record = layout.records[number]
        more = section.header.continues and number == len(layout.records) - 1
        if record.sha256 or more:  # what small members have in common is proved with their frames
            self._sha.update(data)
        if offset + len(data) == record.data_size and not more:
            if record.sha256 and self._sha.digest() != record.sha256:
                raise DamagedError("its SHA-256 is not the one stored in the archive")
            self.verified = self._first
