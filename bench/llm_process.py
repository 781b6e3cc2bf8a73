"""The text codec alone, in a process of its own: ``python -m bench.llm_process encode|decode MODEL THREADS IN OUT``.

What it codes, it codes with the model, well or badly, which an archive would not: models with random weights make
everything larger. Frames are those of the default level. Encoding writes to stdout, as JSON, how many tokens each
stream has.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zllm._native import Job
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.models import store
from zllm.planner.levels import DEFAULT_LEVEL, get_level
from zllm.planner.units import Piece, cut_pieces


class _Counting:
    """The packed model, noting how long each stream is that it encodes."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self.streams: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def encoder(self, streams: Sequence[tuple[Sequence[int], int]], *arguments: Any) -> Job:
        """As the model's; called by several threads at once."""
        self.streams.extend(len(tokens) for tokens, _ in streams)
        job: Job = self._native.encoder(streams, *arguments)
        return job


class _CountingModel:
    def __init__(self, model: store.Model) -> None:
        self._model = model
        self.native: Any = _Counting(model.native)
        self.start = model.start

    @property
    def tokenizer(self) -> Any:
        return self._model.tokenizer


def encode(model: Path, threads: int, source: Path, target: Path) -> None:
    """Code ``source`` into ``target``: sizes of frames and payloads, then the payloads."""
    data = memoryview(source.read_bytes())
    frames = [piece.data for piece in cut_pieces(Piece(data), get_level(DEFAULT_LEVEL).text_frame)]
    counting = _CountingModel(store.load(model))
    payloads = LlmCodec(counting).encode_batch([(frame, ()) for frame in frames], Run(threads))
    sizes = array("I", [len(frames), *map(len, frames), *map(len, payloads)])
    target.write_bytes(sizes.tobytes() + b"".join(payloads))
    sys.stdout.write(json.dumps(counting.native.streams))


def decode(model: Path, threads: int, source: Path, target: Path) -> None:
    """What :func:`encode` was given."""
    data = memoryview(source.read_bytes())
    (count,) = struct.unpack_from("=I", data)
    sizes = struct.unpack_from(f"={2 * count}I", data, 4)
    at = 4 + 8 * count
    items = []
    for size, length in zip(sizes[:count], sizes[count:], strict=True):
        items.append((data[at : at + length], size, ()))
        at += length
    target.write_bytes(b"".join(LlmCodec(store.load(model)).decode_batch(items, Run(threads))))


if __name__ == "__main__":
    way = {"encode": encode, "decode": decode}[sys.argv[1]]
    way(Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
