"""Every limit of the format in one place, and those that the opener of an archive may change (:class:`Limits`).

A size that was read from a file is compared with one of these before use.

Those that are ratios keep work in proportion to the bytes that ask for it: a reader refuses what claims more, so that a
few kilobytes never cost minutes. Writers stay below them by construction: what packs better than that is packed worse.
"""

from __future__ import annotations

from dataclasses import dataclass

from zllm.errors import LimitError, UsageError

BLOCK = 512
"""A tar block, in bytes."""

WINDOW = 64 << 20
"""Most bytes of the tar stream that one section covers. It bounds the memory of writers and readers."""

MAX_PAYLOAD = WINDOW + (1 << 20)
"""Most bytes of all payloads of a section, which readers of pipes hold in memory. ``store`` never expands, so a writer
never comes near."""

MAX_MAP = 2 * WINDOW
"""Most bytes of a section map, coded as well as decoded."""

MAX_RECORDS = WINDOW // 128
"""Most records of a section. All but two of them have a block of their own, or follow one that does."""

MAX_FRAMES = 1 << 17
"""Most frames of a section. Writers cut groups into frames of 4 KiB or more."""

MAX_COLUMNS = 4096
"""Most columns in one column set."""

MAX_MIXED = 256 << 10
"""Most bytes of a column of kind 3: a listing waits for it, a third of a second."""

FREE_MAP, MAX_MAP_RATIO = 64 << 10, 2048
"""A section map unpacks to at most so many bytes, and so many more for each of its own bytes. Maps of empty files whose
names are counted up, the most regular that were found, have 250 for each."""

FREE_HEADERS, MAX_HEADERS_RATIO = 4096, 256
"""Most records, frames, header blocks, names and pax records of a section: so many, and so many for each byte of its
map. Each is made by itself, which takes microseconds. Empty files whose names are counted up have 31 for each byte."""

FREE_MIXED, MAX_MIXED_RATIO = 128 << 10, 512
"""Most bytes of all columns of kind 3 of a set together: so many, and so many more for each byte of the set."""

MAX_DIRECTORY = 64 << 20
"""Most bytes of a directory, coded as well as decoded: room for two million sections."""

FREE_DIRECTORY, MAX_DIRECTORY_RATIO = 8 << 10, 64
"""The text of a directory has at most so many bytes, and so many more for each byte of the directory."""

MAX_DELETED = 4 << 20
"""Most names that one directory deletes: each costs readers a microsecond."""

MAX_MANIFEST = 64 << 10
"""Most bytes of the manifest, which becomes objects of fifty times that size."""

MAX_DEPTH = 16
"""Most objects and arrays inside each other in the manifest."""

MAX_SECTION_HEADER = 4096
"""Most bytes of a section header."""

MAX_MODELS = 8
"""Most models that one section names."""

MAX_MODEL_NAME = 255
"""Most bytes of a model's name, UTF-8."""

MAX_MODEL = 4 << 30
"""Most bytes of an embedded model file."""

MAX_MODEL_RATIO = 16
"""How many times as long as its coded form an embedded model may be: a few bytes never claim gigabytes."""

MAX_EXTENDED = 1 << 20
"""Most bytes of one extended header's text (pax records, GNU long names). A larger one is kept as plain data."""

MAX_UNIT = 8 << 20
"""Most bytes of one member's headers together. What is longer is kept as plain data."""

FREE_MIXED_TEXT, MAX_MIXED_TEXT_RATIO = 64 << 10, 1 << 16
"""A frame of codec cm has at most so many bytes of data, and so many more for each byte of its code string. What
repeats every few bytes has 50,000 for each."""

FREE_MODEL_TEXT, MAX_MODEL_TEXT_RATIO = 4 << 10, 4096
"""The same of a frame of codec llm, whose long repeats are not in its code string: the rest has a thousand at most."""

MAX_STREAMS = 256
"""Most streams of a frame of codec llm: each takes memory for its context."""

FREE_STREAMS, STREAM_CODE = 16, 512
"""Streams of a frame of codec llm, whatever its size; each that it has more takes so many bytes of its code string."""

MAX_KEYS = 32 << 10
"""Most bytes of the body of a keys part."""

MAX_SLOTS = 256
"""Most slots of a keys part: each is tried with each key."""

REPEAT_DATA = 256
"""A frame of codec llm has at most one repeat for so many bytes of its data, and one more."""


@dataclass(frozen=True)
class Limits:
    """How much of a machine an archive may take. What needs more is refused before it is unpacked.

    The defaults are the limits of the format and those that keep work in proportion to the bytes that ask for it: what
    zllm writes stays below them. Raise one for archives of another writer, lower it for archives of strangers. None, of
    output_bytes and members alone: no limit.

    Args:
        output_bytes: bytes of the tar stream, of all archives in the file together.
        members: members of the archive, of all archives in the file together.
        map_bytes: bytes of one section's map, unpacked: what listing holds in memory is in proportion to it.
        map_free, map_ratio: bytes that a map may unpack to, whatever its size, and bytes more for each of its own.
        records: records of one section.
        records_free, records_ratio: records, frames, header blocks and texts of one section, whatever the size of its
            map, and more of them for each byte of the map.
        name_bytes: bytes of one member's name, or of any other text of an extended header.
        directory_bytes: bytes of a directory, as it is in the file and unpacked.
        directory_free, directory_ratio: bytes that its text may unpack to, and bytes more for each of its own.
        deleted: names that one directory deletes.
        model_bytes: bytes of an embedded model file.
        model_ratio: how many times as long as its coded form an embedded model may be.
        frame_bytes: bytes of data of one frame, which a decoder makes at once.
        argon2_bytes: bytes of memory that trying a passphrase may take.
        argon2_work: bytes that trying all passphrases may write, of all archives in the file together.
    """

    output_bytes: int | None = None
    members: int | None = None
    map_bytes: int = MAX_MAP
    map_free: int = FREE_MAP
    map_ratio: int = MAX_MAP_RATIO
    records: int = MAX_RECORDS
    records_free: int = FREE_HEADERS
    records_ratio: int = MAX_HEADERS_RATIO
    name_bytes: int = MAX_EXTENDED
    directory_bytes: int = MAX_DIRECTORY
    directory_free: int = FREE_DIRECTORY
    directory_ratio: int = MAX_DIRECTORY_RATIO
    deleted: int = MAX_DELETED
    model_bytes: int = MAX_MODEL
    model_ratio: int = MAX_MODEL_RATIO
    frame_bytes: int = WINDOW
    argon2_bytes: int = 1 << 30
    argon2_work: int = 64 << 30

    def __post_init__(self) -> None:
        """Refuse what cannot be compared with sizes.

        Raises:
            TypeError: a limit that is not a whole number. Only output_bytes and members may be None.
            UsageError: a limit below 0.
        """
        for name, value in vars(self).items():
            if value is None and name in ("output_bytes", "members"):
                continue
            if not isinstance(value, int):
                raise TypeError(f"the limit {name} must be a whole number, not {value!r}")
            if value < 0:
                raise UsageError(f"the limit {name} must be 0 or more, not {value}")

    def unpacked_map(self, packed: int) -> int:
        """Bytes that the columns of a map of ``packed`` bytes may take."""
        return min(self.map_bytes, self.map_free + self.map_ratio * packed)

    def parts_of_map(self, packed: int) -> int:
        """Records, frames, header blocks and texts that a map of ``packed`` bytes may have."""
        return self.records_free + self.records_ratio * packed

    def directory_text(self, packed: int) -> int:
        """Bytes that the text of a directory of ``packed`` bytes may take."""
        return min(self.directory_bytes, self.directory_free + self.directory_ratio * packed)

    def check_output(self, size: int) -> None:
        """Raise LimitError if a tar stream of ``size`` bytes is too long."""
        if self.output_bytes is not None and size > self.output_bytes:
            raise LimitError(f"the archive unpacks to more than {self.output_bytes} bytes, the limit that was set")

    def check_members(self, count: int) -> None:
        """Raise LimitError if ``count`` members are too many."""
        if self.members is not None and count > self.members:
            raise LimitError(f"the archive has more than {self.members} members, the limit that was set")


DEFAULT = Limits()
"""Of readers that are told nothing else, and of what is written."""
