"""Codec 8: streams of deflate unpacked, and what was in them coded by what suits it (``docs/media.md``).

Payload::

    u8 version
    varint pieces; for each: u8 codec, varint bytes of data, varint bytes of its payload
    the payloads; the first piece is a plan, the others are the bytes of its groups
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from zllm._native import Cancel, Counter
from zllm._native.media import image_encode
from zllm._native.rebuild import rebuild_join, rebuild_memory
from zllm.codecs import workspace
from zllm.codecs.base import Buffer, Codec, Cost, Run, map_items
from zllm.codecs.cm import CmCodec
from zllm.codecs.image import ImageCodec
from zllm.codecs.media import batches
from zllm.codecs.media.deflated import FREE_UNPACKED, MOST_UNPACKED, UNPACKED_RATIO, hold_streams, streams
from zllm.codecs.media.plans import Kind, Plan, is_text
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import payloads
from zllm.format.category import NOT_TEXT, Category
from zllm.format.wire import Reader, varints

_WHAT = "a frame of streams"
_VERSION = 1
_PLAIN = 0
_DEEPEST = 1
"""Frames in frames: what is in a stream of a stream is looked at, and no deeper."""
_MOST_PIECES = 16
_SHARE = 1 / 16
"""Of a frame that streams have to be."""
_LEAST_GAIN = 0.98
"""Of zstd's size, that a slower codec has to make."""
_LEAST_MIXED = 64
_QUICK, _SURELY = 9, 0.75
"""A level of zstd, and what share of it level 19 does not fall below, as :mod:`zllm.planner.tuning` has it."""
_CODECS: dict[int, type[Codec]] = {
    codec.id: codec for codec in (StoreCodec, ZstdCodec, CmCodec, ImageCodec)
}  # and this one


_space = workspace.Workspace(workspace.SHARED_BYTES)
"""What unpacked data takes in many threads; apart from what the codecs of pieces take, who wait for each other."""
_UNPACKED, _COPIES = 8, 4
"""Times a frame's bytes are what is in it, as a rule, and how often that is in memory at a time."""


class RebuildCodec(Codec):
    """What zlib packed: PNG images, zip and gzip archives, office documents, wheels, PDF files."""

    name: ClassVar[str] = "rebuild"
    id: ClassVar[int] = 8
    categories: ClassVar[frozenset[Category]] = NOT_TEXT
    cost: ClassVar[Cost] = Cost(encode=1900, decode=1500)  # a byte that is unpacked
    whole: ClassVar[bool] = True

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"depth": self.depth}

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool:
        """See :meth:`Codec.recognises`."""
        return hold_streams(memoryview(data), _SHARE)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self._encode(memoryview(data), Run())

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self._decode(memoryview(payload), size, Run())

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """Encode many frames, with ``run.threads`` threads."""

        def one(item: tuple[Buffer, Sequence[int]], own: Run) -> bytes:
            with _space.hold(_memory(len(item[0]))):
                payload = self._encode(memoryview(item[0]), Run(cancelled=own.cancelled))
            own.done(len(item[0]))
            return payload

        with run.stage(self.name, sum(len(data) for data, _ in items)) as stage:
            coded = map_items(one, items, run)
            stage.bytes_out = sum(map(len, coded))
        return coded

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """Decode many frames, with ``run.threads`` threads.

        Raises:
            DamagedError: a payload does not fit its size.
            UnsupportedVersionError: another version made it.
        """

        def one(item: tuple[Buffer, int, Sequence[int]], own: Run) -> bytes:
            with _space.hold(_memory(item[1])):
                data = self._decode(memoryview(item[0]), item[1], Run(cancelled=own.cancelled))
            own.done(item[1])
            return data

        with run.stage(self.name, sum(len(payload) for payload, *_ in items)) as stage:
            stage.bytes_out = sum(size for _, size, _ in items)
            return map_items(one, items, run)

    def _encode(self, data: memoryview, run: Run) -> bytes:
        if not data:
            return b""
        plan = self._plan(data, run)
        if not plan.rebuilt or not _makes(plan, data):
            return bytes([_PLAIN]) + bytes(data)
        plain = [(Kind.GLUE,), (Kind.PACKED,), (Kind.TEXT,), (Kind.BINARY,)]
        pieces = [_piece(plan.pack(), run), *(_piece(plan.contents(groups), run) for groups in plain)]
        pieces += [self._container(plan.contents([Kind.CONTAINER]), run), _images(plan, run)]
        pieces = [piece for piece in pieces if piece[1]]
        head = [number for codec, size, payload in pieces for number in (codec, size, len(payload))]
        front = bytes([_VERSION]) + varints([len(pieces), *head])
        return b"".join([front, *(payload for *_, payload in pieces)])

    def _plan(self, data: memoryview, run: Run) -> Plan:
        plan, end = Plan(), 0
        for stream in streams(data):
            run.check()
            plan.copy(data[end : stream.start])
            made = plan.stream(stream, self._kind(stream.data))
            end = stream.start + (stream.size if made else 0)
        plan.copy(data[end:])
        return plan

    def _kind(self, data: bytes) -> Kind:
        if self.depth < _DEEPEST and hold_streams(memoryview(data), _SHARE):
            return Kind.CONTAINER
        return Kind.TEXT if is_text(data) else Kind.BINARY

    def _container(self, data: bytes, run: Run) -> tuple[int, int, bytes]:
        """What has streams itself."""
        inner = RebuildCodec(self.depth + 1)._encode(memoryview(data), run)
        return (self.id, len(data), inner) if data and inner[0] != _PLAIN else _piece(data, run)

    def _decode(self, payload: memoryview, size: int, run: Run) -> bytes:
        if not size and not payload:
            return b""
        if size > payloads.MAX_DATA or not payload or not size:
            raise DamagedError(f"{_WHAT} is damaged: {len(payload)} bytes claim to be {size}")
        if payload[0] == _PLAIN:
            if len(payload) != size + 1:
                raise DamagedError(f"{_WHAT} is damaged: {len(payload) - 1} bytes claim to be {size}")
            return bytes(payload[1:])
        if payload[0] != _VERSION:
            raise UnsupportedVersionError(f"{_WHAT} has version {payload[0]}, this program has {_VERSION}")
        plan, *groups = self._pieces(payload, size, run)
        unpacked = b"".join(groups)
        with workspace.shared.hold(rebuild_memory(size, len(unpacked))):
            run.check()
            return rebuild_join(plan, unpacked, size)

    def _pieces(self, payload: memoryview, size: int, run: Run) -> list[bytes]:
        """The data of all pieces."""
        reader = Reader(payload, _WHAT)
        reader.byte()
        count = reader.varint(_MOST_PIECES)
        left = min(MOST_UNPACKED, FREE_UNPACKED + UNPACKED_RATIO * size) + 2 * size  # and the plan, and what stays
        table = []
        for _ in range(count):
            codec, length = reader.byte(), reader.varint(left)
            left -= length
            table.append((codec, length, reader.varint(len(payload))))
        coded = [(codec, length, reader.take(taken)) for codec, length, taken in table]
        if not coded or reader.left or not all(length for _, length, _ in coded):
            raise DamagedError(f"{_WHAT} is damaged: its pieces do not fit it")
        return [self._codec(codec).decode_batch([(data, length, ())], run)[0] for codec, length, data in coded]

    def _codec(self, number: int) -> Codec:
        if number == self.id and self.depth < _DEEPEST:
            return _Inner(self.depth + 1)
        if number not in _CODECS:
            raise DamagedError(f"{_WHAT} is damaged: codec {number} is not for its pieces")
        return _CODECS[number]()


class _Inner(RebuildCodec):
    """In a frame of this codec, which holds the memory of both."""

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """See :meth:`Codec.decode_batch`."""
        return [self._decode(memoryview(payload), size, run) for payload, size, _ in items]


def _memory(size: int) -> int:
    return size + _COPIES * min(MOST_UNPACKED, _UNPACKED * size)


def _piece(data: bytes, run: Run) -> tuple[int, int, bytes]:
    """(codec, bytes, payload) of what is smallest. zstd -9 tells where -19 need not be tried."""
    if not data:
        return StoreCodec.id, 0, b""
    best = StoreCodec.id, data
    mixed = CmCodec().encode_batch([(data, ())], run)[0] if len(data) >= _LEAST_MIXED else data
    if len(mixed) >= _SURELY * len(ZstdCodec(_QUICK).encode_batch([(data, ())], run)[0]):
        packed = ZstdCodec().encode_batch([(data, ())], run)[0]
        best = min(best, (ZstdCodec.id, packed), key=lambda one: len(one[1]))
    if len(mixed) < _LEAST_GAIN * len(best[1]):
        best = CmCodec.id, mixed
    return best[0], len(data), best[1]


def _makes(plan: Plan, data: memoryview) -> bool:
    """Whether the plan gives the data: C has proved it of each stream, and this proves it of all."""
    unpacked = plan.contents(range(len(plan.groups)))
    with workspace.shared.hold(rebuild_memory(len(data), len(unpacked))):
        try:
            return rebuild_join(plan.pack(), unpacked, len(data)) == data
        except DamagedError:
            return False


def _images(plan: Plan, run: Run) -> tuple[int, int, bytes]:
    """All images, ordered by their formats, as pixels, or as any bytes if these are not clearly better than zstd's."""
    data = plan.contents(plan.images())
    if not data:
        return _piece(data, run)
    runs = [one for group in plan.images() for one in plan.runs[group]]

    def code(_: int, cancel: Cancel, counter: Counter) -> bytes:
        return payloads.pack_media(image_encode(data, runs, cancel=cancel, counter=counter), len(data))

    pixels = batches.code(ImageCodec.name, [len(data)], code, ImageCodec().encoder_memory, run)[0]
    best = ImageCodec.id, len(data), pixels
    if len(pixels) < _SURELY * len(ZstdCodec(_QUICK).encode_batch([(data, ())], run)[0]):
        return best
    return min(best, _piece(data, run), key=lambda one: len(one[2]))
