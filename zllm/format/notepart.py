"""Notes: what people want to travel with an archive, such as the source of a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.errors import DamagedError
from zllm.format.wire import Reader, put_varint

MAX_TEXT = 255
"""Most bytes of a name, and of a media type."""
FRONT_SIZE = 2 * (2 + MAX_TEXT)
"""Most bytes of the body before the content."""
_WHAT = "a note"


@dataclass(frozen=True)
class Note:
    """``media_type`` says what ``content`` is, as ``text/plain``."""

    name: str
    media_type: str
    content: bytes


def pack(note: Note) -> bytes:
    """The body of a note.

    Raises:
        ValueError: name or media type have more than :data:`MAX_TEXT` bytes.
    """
    out = bytearray()
    for text in (note.name, note.media_type):
        coded = text.encode()
        if len(coded) > MAX_TEXT:
            raise ValueError(f"{len(coded)} bytes, {MAX_TEXT} at most: {text}")
        put_varint(out, len(coded))
        out += coded
    return bytes(out) + note.content


def unpack(body: bytes) -> Note:
    """The inverse of :func:`pack`; of the first :data:`FRONT_SIZE` bytes, with that much of the content.

    Raises:
        DamagedError: it is no such body.
    """
    reader = Reader(body, _WHAT)
    texts = [bytes(reader.take(reader.varint(MAX_TEXT))) for _ in range(2)]
    try:
        name, media_type = (text.decode() for text in texts)
    except UnicodeDecodeError:
        raise DamagedError(f"{_WHAT} is damaged: its name is not UTF-8") from None
    return Note(name, media_type, bytes(reader.rest()))
