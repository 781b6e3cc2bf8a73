"""Every limit of the format in one place. A size that was read from a file is compared with one of these before use.

Those that are ratios keep work in proportion to the bytes that ask for it: a reader refuses what claims more, so that a
few kilobytes never cost minutes. Writers stay below them by construction: what packs better than that is packed worse.
"""

from __future__ import annotations

BLOCK = 512
"""A tar block, in bytes."""

WINDOW = 64 << 20
"""Most bytes of the tar stream that one section covers. It bounds the memory of writers and readers."""

MAX_PAYLOAD = WINDOW + (1 << 20)
"""Most bytes of one frame's payload. ``store`` never expands, so a writer never comes near."""

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

REPEAT_DATA = 256
"""A frame of codec llm has at most one repeat for so many bytes of its data, and one more."""
