"""Compressed bytes to bytes, piece by piece or at once."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from zllm.archive.unpicklable import Unpicklable
from zllm.errors import DamagedError, UsageError, renewed
from zllm.format import ends, envelope
from zllm.format.envelope import Kind
from zllm.streams.options import Model, reading

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zllm.archive.pipe import PipeView

_PIECE = 1 << 20


class _Inbox:
    """Bytes of an archive that come in pieces of any size, given out by whole parts: a reader of parts never waits.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError: in :meth:`put`, as readers of archives do.
    """

    def __init__(self) -> None:
        self.sections = 0
        """Those that are there with all of their frames, and what follows them."""
        self.ended = False
        """The footer is there: what came behind it is left."""
        self._coming = bytearray()
        self._parts = bytearray()  # whole ones, that nobody has taken
        self._seed: int | None = None
        self._size: int | None = None  # of the part that comes, once its envelope is there
        self._kind = 0
        self._open = False  # frames of the last section may follow

    @property
    def left(self) -> bytes:
        """What is there and belongs to no whole part."""
        return bytes(self._coming)

    def read(self, size: int) -> bytes:
        """As files have it, except that an end may be none."""
        data = bytes(memoryview(self._parts)[:size])
        del self._parts[:size]
        return data

    def put(self, data: memoryview) -> None:
        """More of the archive."""
        self._coming += data
        while not self.ended and self._take():
            continue

    def _take(self) -> bool:
        """Take one part, if it is whole."""
        if self._seed is None:
            return self._header()
        if self._size is None:
            front = bytes(memoryview(self._coming)[: envelope.MAX_SIZE])
            if not front or envelope.is_cut(front):
                return False
            found = envelope.parse(front, self._seed)
            self._size, self._kind = found.whole, found.kind
        if len(self._coming) < self._size:
            return False
        self._move(self._size)
        if self._kind != Kind.FRAME:
            self.sections += self._open
            self._open = self._kind == Kind.SECTION
            self.ended = self._kind == Kind.FOOTER
        self._size = None
        return True

    def _header(self) -> bool:
        front = bytes(memoryview(self._coming)[: ends.HEADER_SIZE])
        if len(front) < ends.HEADER_SIZE and ends.FILE_MAGIC.startswith(front[: len(ends.FILE_MAGIC)]):
            return False
        self._seed = envelope.seed_of(ends.read_header(front))
        self._move(ends.HEADER_SIZE)
        return True

    def _move(self, size: int) -> None:
        self._parts += memoryview(self._coming)[:size]
        del self._coming[:size]


class Decompressor(Unpicklable):
    """Decompresses one archive that comes piece by piece, as :class:`compression.zstd.ZstdDecompressor` one frame.

    It ends with the first footer. What follows is in :attr:`unused_data`: another archive, or later generations of one
    that was changed, which :func:`zllm.open` and :func:`open_stream` read. Of a tar archive it gives the tar stream.
    At most one section of an archive (32 MiB of data) is in memory, as long as its output is taken. Threads may share
    a decompressor: each call is whole.

    Args:
        model: name or file of a language model, or several, that are looked at before those that are installed.
        options: other fields of :class:`zllm.archive.options.ReadOptions`: ``threads``, ``limits`` and so on.

    Raises:
        TypeError, UsageError: an option that there is not.
    """

    def __init__(self, model: Model = None, **options: Any) -> None:
        self._options = reading(model, options)
        if self._options.generation is not None:
            raise UsageError("a stream has one generation")
        self._lock = threading.Lock()
        self._inbox = _Inbox()
        self._view: PipeView | None = None
        self._taken = 0  # sections that the view has
        self._eof = False

    @property
    def eof(self) -> bool:
        """Whether the archive's end has been reached, and all of its data given."""
        return self._eof

    @property
    def needs_input(self) -> bool:
        """Whether more compressed data is needed before there can be more output."""
        return not self._eof and not self._can_go_on()

    @property
    def unused_data(self) -> bytes:
        """What came behind the archive's end; empty before :attr:`eof`."""
        return self._inbox.left if self._eof else b""

    def decompress(self, data: Buffer, max_length: int = -1) -> bytes:
        """Take ``data``; returns decompressed bytes, no more than ``max_length`` unless that is negative.

        If there would have been more, :attr:`needs_input` is False, and the next call, which may be one with no data,
        goes on.

        Raises:
            EOFError: the end has been reached by an earlier call.
            NotZllmError: not an archive.
            DamagedError: it is damaged. One wrong byte, which other readers correct, is damage here.
            UnsupportedVersionError: a version or a feature that this program does not read.
            LimitError: it has more of something than ``limits`` allow.
            MissingCodecError, MissingModelError: what it was coded with is not here.
            LockedError: it is encrypted, and none of the keys in the options opens it.
            UsageError: keys were given, and it is not encrypted.
        """
        with self._lock:
            if self._eof:
                raise EOFError("the end of the stream has been reached")
            self._inbox.put(memoryview(data).cast("B"))
            pieces, left = [], max_length
            while left and self._can_go_on():
                piece = self._some(left if left > 0 else _PIECE)
                pieces.append(piece)
                left -= len(piece) if left > 0 else 0
            if not left and self._at_end():
                self._end()
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _can_go_on(self) -> bool:
        """Whether there is output, or the end, without more input."""
        view = self._view
        if view is not None and view.tell() < view.end:
            return True
        return not self._eof and (self._inbox.sections > self._taken or self._inbox.ended)

    def _at_end(self) -> bool:
        """Whether nothing but the end is left."""
        view, inbox = self._view, self._inbox
        return view is not None and inbox.ended and self._taken >= inbox.sections and view.tell() >= view.end

    def _some(self, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        from zllm.archive.coding import Decoders
        from zllm.archive.pipe import PipeView
        from zllm.archive.vault import Vault

        if self._view is None:
            options, vault = self._options, Vault(self._options, self._options.limits)
            self._view = PipeView(cast(BinaryIO, self._inbox), Decoders(options), options.limits, opener=vault)
            vault.check()
            self._view.everything = True
            self._taken = 1
        view = self._view
        if view.tell() >= view.end:
            if self._at_end():
                self._end()
                return b""
            if view.end:  # or else it is the first section, which it has
                self._taken += 1
                view.section_at(view.tell())
        return view.read(min(size, view.end - view.tell()))

    def _end(self) -> None:
        """All has been given: whatever is wrong is said now."""
        view = cast("PipeView", self._view)
        view.drain()
        problem = view.problem
        if problem is None and not view.generations:
            problem = DamagedError("the archive is damaged: its directory cannot be read")
        if problem is not None:
            raise renewed(problem)
        self._eof = True


def decompress(data: Buffer, model: Model = None, **options: Any) -> bytes:
    """The bytes that went into the archive ``data``, or into several that follow each other; of one that was changed,
    the tar stream of what is in it now. Bytes behind it that are not of an archive are ignored, as by :mod:`lzma`.

    Args:
        data: anything with the buffer protocol.
        model: name or file of a language model, or several, that are looked at before those that are installed.
        options: as for :class:`Decompressor`. ``limits=zllm.Limits(output_bytes=N)`` refuses what would be longer.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError, LimitError, MissingCodecError, MissingModelError: as
            :meth:`Decompressor.decompress`. Damage that costs nothing is an error, too: :func:`open_stream` gives the
            data before it says so.
        TypeError, UsageError: an option that there is not.
    """
    from zllm.streams.reading import Decoded

    given = reading(model, options)
    return Decoded(io.BytesIO(memoryview(data).cast("B")), given).read()
