"""Plans of codec rebuild: what a frame is made of, in groups of the same kind (``docs/media.md``)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from zllm._native.media import ImageRun
from zllm._native.rebuild import NO_HINT, deflate_find, png_unfilter
from zllm.codecs.media.coder import CHANGE_DATA, FREE_CHANGES
from zllm.codecs.media.deflated import Rows, Stream
from zllm.format.wire import put_varint

_CONTROLS = bytes(byte for byte in range(32) if byte not in (9, 10, 12, 13)) + b"\x7f"
_HEAD = 16 << 10
_FEW = 0.01
_NOISE = 0.97
_GLUE = 1 << 10
"""Bytes between streams that are worth a look whether they are packed."""
_COPY, _RAW, _ZLIB, _PNG = range(4)


class Kind(IntEnum):
    """Of a group; those of images come last, one for each format."""

    GLUE = 0
    PACKED = 1
    TEXT = 2
    BINARY = 3
    CONTAINER = 4
    IMAGE = 5


@dataclass
class Plan:
    """A plan in the making: steps, and the bytes of each group. ``images``: for each format, rows and contents."""

    steps: bytearray = field(default_factory=bytearray)
    groups: dict[int, list[bytes]] = field(default_factory=lambda: {kind: [] for kind in Kind if kind != Kind.IMAGE})
    formats: dict[tuple[int, int, int], int] = field(default_factory=dict)
    runs: dict[int, list[ImageRun]] = field(default_factory=dict)
    hint: bytes = NO_HINT
    rebuilt: int = 0
    pixels: int = 0
    """Bytes in the groups of images."""

    def copy(self, data: memoryview) -> None:
        """Bytes that stay as they are."""
        if not data:
            return
        packed = len(data) >= _GLUE and len(zlib.compress(data[:_HEAD], 1)) > _NOISE * min(len(data), _HEAD)
        self._step(_COPY, self._put(Kind.PACKED if packed else Kind.GLUE, bytes(data)), len(data))

    def stream(self, stream: Stream, kind: Kind) -> bool:
        """A stream, if it can be made again; ``kind``: of its data."""
        recipe = deflate_find(stream.coded, stream.data, window=stream.window, hint=self.hint)
        if recipe is None and stream.window != 15:
            recipe = deflate_find(stream.coded, stream.data, hint=self.hint)
        if recipe is None:
            return False
        self.hint = recipe[:2]
        self.rebuilt += len(stream.coded)
        size = len(stream.data)
        if not stream.chunks:
            group = self._put(kind, stream.data)
            self._step(_ZLIB if stream.zlib else _RAW, group, size)
            self._recipe(recipe)
            return True
        rows = stream.rows
        image = self._put_image(stream.data, rows) if rows is not None else None
        if image is None or rows is None:
            self._step(_PNG, self._put(Kind.BINARY, stream.data), size, 0)
        else:
            self._step(_PNG, image, size, rows.row << 4 | rows.pixel)
        put_varint(self.steps, stream.head)
        self._recipe(recipe)
        self._chunks(stream.chunks)
        return True

    def pack(self) -> bytes:
        """The plan's bytes."""
        out = bytearray()
        put_varint(out, Kind.IMAGE + len(self.formats))
        for group in range(Kind.IMAGE + len(self.formats)):
            put_varint(out, sum(map(len, self.groups[group])))
        return bytes(out + self.steps)

    def contents(self, groups: Iterable[int]) -> bytes:
        """The bytes of some groups."""
        return b"".join(piece for group in groups for piece in self.groups[group])

    def images(self) -> range:
        """The groups of images."""
        return range(Kind.IMAGE, Kind.IMAGE + len(self.formats))

    def _put(self, group: int, data: bytes) -> int:
        self.groups[group].append(data)
        return group

    def _put_image(self, data: bytes, rows: Rows) -> int | None:
        """None: there are too many formats for one picture's codec, or a filter that does not exist."""
        form = rows.columns, rows.planes, rows.width
        if form not in self.formats and len(self.formats) >= FREE_CHANGES + self.pixels // CHANGE_DATA:
            return None
        unfiltered = png_unfilter(data, rows.rows, rows.row, rows.pixel)
        if unfiltered is None:
            return None
        group = self.formats.setdefault(form, Kind.IMAGE + len(self.formats))
        self.groups.setdefault(group, []).append(unfiltered[1])
        self.pixels += len(unfiltered[1])
        self.groups[Kind.GLUE].append(unfiltered[0])
        self.runs.setdefault(group, []).append(ImageRun(0, rows.rows, *form, big=True))
        return group

    def _step(self, kind: int, group: int, *numbers: int) -> None:
        for number in (group << 2 | kind, *numbers):
            put_varint(self.steps, number)

    def _recipe(self, recipe: bytes) -> None:
        put_varint(self.steps, len(recipe))
        self.steps += recipe

    def _chunks(self, sizes: tuple[int, ...]) -> None:
        equal = len(set(sizes[:-1])) <= 1
        put_varint(self.steps, len(sizes) << 1 | (not equal))
        for size in sizes[:1] * (len(sizes) > 1) if equal else sizes[:-1]:
            put_varint(self.steps, size)


def is_text(data: bytes) -> bool:
    """Whether it reads as text, roughly."""
    head = data[:_HEAD]
    return len(head) - len(head.translate(None, _CONTROLS)) <= _FEW * len(head)
