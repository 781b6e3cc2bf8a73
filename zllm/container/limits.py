"""Every limit of the format in one place. A size that was read from a file is compared with one of these before use."""

from __future__ import annotations

BLOCK = 512
"""A tar block, in bytes."""

WINDOW = 64 << 20
"""Most bytes of the tar stream that one section covers. It bounds the memory of writers and readers."""

MAX_PAYLOAD = WINDOW + (1 << 20)
"""Most bytes of one frame's payload. ``store`` never expands, so a writer never comes near."""

MAX_SECTION_FRAMES = 4 * WINDOW
"""Most bytes that the frames of one section take together, headers included."""

MAX_MAP = 2 * WINDOW
"""Most bytes of a section map, coded as well as decoded."""

MAX_RECORDS = WINDOW // 128
"""Most records of a section. All but two of them have a block of their own, or follow one that does."""

MAX_FRAMES = 1 << 17
"""Most frames of a section. Writers cut groups into frames of 4 KiB or more."""

MAX_COLUMNS = 4096
"""Most columns in one column set."""

MAX_INDEX = 64 << 20
"""Most bytes of the index, coded as well as decoded: room for three million sections."""

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
