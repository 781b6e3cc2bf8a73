"""Whole streams, without names: bytes to archive and archive to bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from io import RawIOBase
from typing import TYPE_CHECKING, BinaryIO, cast

from zllm.archive import layout
from zllm.archive.archive import Archive
from zllm.archive.coding import Decoders
from zllm.archive.fileview import FileView
from zllm.archive.options import ReadOptions, WriteOptions
from zllm.archive.pipe import PipeView
from zllm.archive.state import StateStream
from zllm.archive.vault import Vault
from zllm.archive.view import TarView
from zllm.format.ends import FILE_MAGIC as MAGIC

if TYPE_CHECKING:
    from zllm.archive.writer import Writer

__all__ = ["MAGIC", "decoder", "encoder"]


@contextlib.contextmanager
def encoder(out: BinaryIO, options: WriteOptions) -> Iterator[Writer]:
    """Takes bytes, a tar stream or not; the archive on ``out`` is complete when the block ends well."""
    from zllm.archive.writer import Writer

    sink = Writer(out, options)
    try:
        yield sink
        sink.close()
    except BaseException:
        sink.abort()
        raise


@contextlib.contextmanager
def decoder(file: BinaryIO, options: ReadOptions, warn: Callable[[str], None]) -> Iterator[RawIOBase]:
    """Gives the bytes that went into the archive in ``file``, which is read once from front to end; of one that was
    changed, and can be sought, the tar stream of what is in it now.

    Raises:
        NotZllmError: the input is not a zllm archive.
        DamagedError: something of it is damaged or missing; raised at the end at the latest.
    """
    stream: RawIOBase
    vault = Vault(options, options.limits)
    if file.seekable() and (options.generation is not None or layout.is_changed(file, options.limits, vault)):
        archive = Archive(file, options, vault=vault)
        view: TarView = archive.view
        stream = StateStream(archive, cast(FileView, view))
    else:
        stream = view = PipeView(file, Decoders(options), options.limits, options.generation, vault)
        vault.check()
    view.everything = True
    yield stream
    for text in view.warnings:
        warn(text)
    if view.problem is not None:
        raise view.problem
