"""What frames of 64 KiB to 16 MiB cost, by the adaptive predictor alone and with the default model, and a primer.

A *primer* is the first frame of a text, whose adaptive end state is what each other frame starts with. No codec has it.
What it would do is measured with those that there are: frame F after primer P costs what P and F cost as one frame, cut
between them, less what P costs. The predictor's state before F is then the end state of P, in tables for both. With the
model the same is done in one stream, where the model also sees the end of P; so the frame without a primer follows the
last 1,024 bytes of P there, and both see as much. Primed frames with the model are a sample of them, taken evenly.

Sizes are those of payloads, and 24 bytes for each frame but the first, as the planner counts them.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.common import CORPUS, DATA, Row, keeps, parser, say, table, write_csv
from bench.texts import validation_documents
from bench.workloads import VALIDATION
from zllm.archive.options import thread_count
from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.llm import LlmCodec
from zllm.errors import UsageError
from zllm.models import store
from zllm.planner.levels import DEFAULT_LEVEL, LEVELS, get_level
from zllm.planner.units import FRAME_COST

_MIB = 1 << 20
FRAMES = (64 << 10, 256 << 10, _MIB, 4 * _MIB, 16 * _MIB)
FILES = ("geonames.tsv", "linux_auth.log", "metrics.jsonl")
_SAMPLE = 512 << 10  # bytes of each text whose frames are primed with the model
_CONTEXT = 1 << 10  # of the model: more than its window of 256 tokens
_QUICK = 100_000
Item = tuple[bytes, Sequence[int]]


class Coder(Protocol):
    """A codec, and what its frames would cost after a primer. ``least``: bytes of the smallest frames that it makes."""

    name: str
    least: int

    def tries(self, step: int) -> int | None:
        """How many frames of so many bytes to prime; None: all."""

    def sizes(self, frames: Sequence[bytes]) -> list[int]:
        """Of the payloads."""

    def primed(self, primer: bytes, frames: Sequence[bytes]) -> tuple[int, int]:
        """What the frames cost together without and with a primer."""


class Alone:
    """``cm``: the adaptive predictor without a model."""

    name = CmCodec.name
    least = 0

    def __init__(self, threads: int) -> None:
        self._run = Run(threads)

    def tries(self, step: int) -> int | None:
        """All."""
        return None

    def sizes(self, frames: Sequence[bytes]) -> list[int]:
        """Of the payloads."""
        return _sizes(CmCodec(), [(frame, ()) for frame in frames], self._run)

    def primed(self, primer: bytes, frames: Sequence[bytes]) -> tuple[int, int]:
        """What the frames cost together without and with a primer."""
        return sum(self.sizes(frames)), _after(CmCodec(), primer, frames, self._run)


class WithModel:
    """``llm``: the default model, in streams as the default level has them."""

    name = LlmCodec.name
    least = 0
    streams = get_level(DEFAULT_LEVEL).streams

    def __init__(self, threads: int) -> None:
        self._run = Run(threads)
        self._model = store.resolve()

    def tries(self, step: int) -> int | None:
        """As many as the sample has."""
        return max(1, _SAMPLE // step)

    def sizes(self, frames: Sequence[bytes]) -> list[int]:
        """Of the payloads."""
        return _sizes(LlmCodec(self._model, self.streams), [(frame, ()) for frame in frames], self._run)

    def primed(self, primer: bytes, frames: Sequence[bytes]) -> tuple[int, int]:
        """What the frames cost together without and with a primer, each as one stream."""
        codec = LlmCodec(self._model, streams=1)
        one, other = (_after(codec, before, frames, self._run) for before in (primer[-_CONTEXT:], primer))
        return one, other


class FewStreams(WithModel):
    """The same in streams as levels 7 to 9 have them, whose frames are large. They are not tried with a primer."""

    streams = get_level(max(LEVELS)).streams
    name = f"{LlmCodec.name}, {streams} streams"
    least = _MIB

    def tries(self, step: int) -> int | None:
        """None."""
        return 0


CODERS: dict[str, Callable[[int], Coder]] = {"cm": Alone, "llm": WithModel, "llm-few": FewStreams}


def main(arguments: list[str]) -> int:
    """Run."""
    given = _options().parse_args(arguments)
    most = given.bytes or (_QUICK if given.quick else None)
    texts = [Text(text.name, text.data[:most]) for text in _texts(given) if text.data]
    if not texts:
        raise UsageError(f"nothing to measure: no text in {given.data} or {given.corpus}")
    coders = [CODERS[name](given.threads) for name in given.codecs]
    rows = [row for text in texts for coder in coders for row in measure(text, coder, given.frames)]
    sys.stdout.write(table(rows))
    if keeps(given):
        write_csv(given.results / "frames.csv", rows)
    return 0


def _options() -> ArgumentParser:
    options = parser("frames", __doc__ or "", coding=False)
    options.add_argument("--quick", action="store_true", help="a little of each text: whether it runs")
    options.add_argument("--bytes", type=int, help="of each text, at most")
    options.add_argument("--frames", type=int, nargs="+", default=FRAMES, help="sizes (default: %(default)s)")
    options.add_argument("--codecs", nargs="+", choices=CODERS, default=list(CODERS), help="(default: all)")
    options.add_argument("--files", type=Path, nargs="+", help="these texts instead")
    options.add_argument("--data", type=Path, default=DATA, help="folder of files (default: ../shared/bench)")
    options.add_argument("--corpus", type=Path, default=CORPUS, help="of validation text (default: ../shared/corpus)")
    options.add_argument("-j", "--threads", type=int, default=thread_count(None), help="(default: all processors)")
    return options


@dataclass(frozen=True)
class Text:
    """A text and what it is called."""

    name: str
    data: bytes


def _texts(given: Namespace) -> Iterator[Text]:
    """Validation text, category by category, and its largest category; a table, a log and JSON; or what was given."""
    if given.files:
        yield from (Text(path.name, path.read_bytes()) for path in given.files)
        return
    if given.corpus.is_dir():
        documents = sorted(validation_documents(given.corpus).items())
        joined = {category: b"".join(content for _, content in found) for category, found in documents}
        yield Text("validation text", b"".join(joined.values()))
        largest = max(joined, key=lambda category: len(joined[category]))
        yield Text(f"{VALIDATION}{largest}", joined[largest])
    paths = (given.data / name for name in FILES)
    yield from (Text(path.name, path.read_bytes()) for path in paths if path.exists())


@dataclass(frozen=True)
class Found:
    """A text in frames of ``step`` bytes: bytes of its first frame and of all; ``tried``: frames that were primed."""

    step: int
    frames: int
    first: int
    size: int
    tried: int = 0
    saved: float = 0.0

    @property
    def primed(self) -> float:
        """What it would cost with a primer; where a sample was tried, the others save the same share."""
        return self.first + (self.size - self.first) * (1 - self.saved)


def measure(text: Text, coder: Coder, frame_sizes: Sequence[int]) -> list[Row]:
    """A row for each size of frames below the text's, and for one frame that has it all."""
    data = text.data
    below = sorted(step for step in frame_sizes if coder.least <= step < len(data))
    whole = sorted(step for step in frame_sizes if step >= len(data))[:1]
    found = []
    for step in (*below, *whole):
        say(f"frames: {text.name}, {coder.name}, {step:,} bytes")
        found.append(_measure([data[at : at + step] for at in range(0, len(data), step)], step, coder))
    reference = next((one.size for one in found if one.step >= min(_MIB, len(data))), found[-1].size)
    facts: Row = {"text": text.name, "bytes": len(data), "codec": coder.name}
    return [facts | _row(one, len(data), reference) for one in found]


def _measure(frames: list[bytes], step: int, coder: Coder) -> Found:
    sizes = coder.sizes(frames)
    size = sum(sizes) + FRAME_COST * (len(frames) - 1)
    some = _evenly(frames[1:], coder.tries(step))
    if not some:
        return Found(step, len(frames), sizes[0], size)
    without, primed = coder.primed(frames[0], some)
    return Found(step, len(frames), sizes[0], size, len(some), 1 - primed / without)


def _evenly(frames: list[bytes], count: int | None) -> list[bytes]:
    """That many of them."""
    most = len(frames) if count is None else min(count, len(frames))
    return [frames[(2 * k + 1) * len(frames) // (2 * most)] for k in range(most)]


def _row(found: Found, size: int, reference: int) -> Row:
    row: Row = {"frame": found.step, "frames": found.frames, "size": found.size}
    row |= {"bits_per_byte": f"{8 * found.size / size:.4f}", "over_1_mib": f"{found.size / reference:.4f}"}
    row |= {"primed_frames": found.tried, "primer_saves": f"{found.saved:.4f}" if found.tried else ""}
    return row | {"primed_over_1_mib": f"{found.primed / reference:.4f}" if found.tried else ""}


def _sizes(codec: Codec, items: Sequence[Item], run: Run) -> list[int]:
    return [len(payload) for payload in codec.encode_batch(items, run)]


def _after(codec: Codec, primer: bytes, frames: Sequence[bytes], run: Run) -> int:
    """What the frames cost together, each after the primer."""
    (alone,) = _sizes(codec, [(primer, ())], run)
    return sum(_sizes(codec, [(primer + frame, (len(primer),)) for frame in frames], run)) - alone * len(frames)
