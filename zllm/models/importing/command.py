"""``zllm model import``: a checkpoint in, a ``.zlm`` out, and what it lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zllm import _native
from zllm.errors import ModelError, UsageError
from zllm.models import portable, zlm
from zllm.models.importing import canonical, exact, ggufsource, vocabulary
from zllm.models.importing.build import MAX_WINDOW, USUAL_WINDOW, Builder
from zllm.models.importing.calibrate import Calibrator, Integral
from zllm.models.importing.canonical import MATRICES, Family, Linear, Rounding
from zllm.models.importing.choose import HEAD, Candidate, choose, integer_bits, set_wide
from zllm.models.importing.rotated import Rotated
from zllm.models.importing.simulate import NARROW, rounded
from zllm.models.importing.source import STARTS, Source, open_source
from zllm.models.importing.spool import Spool
from zllm.models.texttokenizer import TextTokenizer

SAMPLE = Path(__file__).with_name("sample.txt")
RUN = 256  # tokens of a sample's row
MOST_ROWS = 12  # to measure, and as many that calibrate, of which so many do:
CALIBRATING_ROWS = 6
MOST_SAMPLE = 1 << 20  # bytes

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class ImportOptions:
    """What the command line asks for."""

    source: str
    output: Path
    name: str
    revision: str | None = None
    calibration: Path | None = None
    window: int | None = None
    replace: bool = True


@dataclass
class Report:
    """What an import found. Bits are per byte of the held-out half of the sample; ``speed`` in bytes a second."""

    path: Path
    size: int = 0
    float_bits: float = 0.0
    integer_bits: float = 0.0
    wide: int = 0
    inputs: int = 0
    speed: float = 0.0
    tokens: int = 0
    exact: bool = False

    @property
    def loss(self) -> float:
        """What the integers cost, as a share of the float network's bits."""
        return self.integer_bits / self.float_bits - 1 if self.float_bits else 0.0


@dataclass(frozen=True)
class Sample:
    """Runs of token ids, each led by the start token: [rows, tokens + 1]. ``size``: bytes of the ``held`` ones."""

    calibration: Tensor
    held: Tensor
    size: int


def read_sample(path: Path | None) -> bytes:
    """The text to calibrate with.

    Raises:
        UsageError: it is too short.
    """
    with (path or SAMPLE).open("rb") as file:
        data = file.read(MOST_SAMPLE)
    if len(data) < 2048:
        raise UsageError(f"{path}: too short to calibrate with: 2 KiB of text at least, better 50")
    return data


def make_sample(data: bytes, tokenizer: TextTokenizer, start: int, length: int) -> Sample:
    """Rows to calibrate with, and others between them to measure.

    Raises:
        UsageError: the text has too few tokens.
    """
    ids = tokenizer.encode(data)
    length = max(8, min(length, len(ids) // 4))
    rows = [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)]
    if len(rows) < 2:
        raise UsageError(f"the text to calibrate with has {len(ids)} tokens only: give more, and more varied, text")
    if len(rows) > 2 * MOST_ROWS:  # from all over the text
        rows = [rows[i * len(rows) // (2 * MOST_ROWS)] for i in range(2 * MOST_ROWS)]
    led = torch.tensor([[start, *row] for row in rows])
    held = rows[1::2]
    return Sample(led[0::2][:CALIBRATING_ROWS], led[1::2], sum(len(tokenizer.tokens[i]) for row in held for i in row))


def _opened(options: ImportOptions) -> Source:
    path = Path(options.source)
    if not path.is_file():
        return open_source(options.source, options.revision)
    if options.revision is not None:
        raise ModelError(f"{path} is a file: --revision is for repositories of the hub")
    return ggufsource.open_file(path)


class Import:
    """One import, step by step."""

    def __init__(self, options: ImportOptions, bar: Bar) -> None:
        self.options, self.bar = options, bar
        self.source: Source = _opened(options)
        self.exported = exact.is_exported(self.source)
        self.family: Family = Rotated(self.source.family())
        self.report = Report(options.output)

    def window(self) -> int:
        """Tokens that are looked at.

        Raises:
            UsageError: the window asked for is not one that the arithmetic has.
        """
        most = min(MAX_WINDOW, self.family.shape.longest // 32 * 32)
        wanted = self.options.window
        if wanted is not None and (wanted % 32 or not 32 <= wanted <= most):
            raise UsageError(f"--window {wanted}: a multiple of 32, from 32 to {most}")
        return wanted or min(USUAL_WINDOW, most)

    def run(self) -> Report:
        """Import, and write the file."""
        if self.exported:
            return self._rebuild()
        size = sum(path.stat().st_size for path in self.source.files())
        with self.bar("hashing", size) as tick:
            record = self.source.record(tick)
        self.options.output.parent.mkdir(parents=True, exist_ok=True)
        spool = Spool(self.options.output.parent)
        try:
            description, tensors = self._quantise(spool, record)
            self._write(description, tensors)
        finally:
            spool.close()
        self.report.size = self.options.output.stat().st_size
        return self.report

    def _write(self, description: dict[str, Any], tensors: dict[str, zlm.Tensor], sha256: str = "") -> None:
        output = self.options.output
        try:
            zlm.write(output, description, tensors, replace=self.options.replace, sha256=sha256)
        except FileExistsError:
            raise UsageError(f"{output} appeared meanwhile: pass --force to replace it") from None

    def _rebuild(self) -> Report:
        description, tensors, sha256 = exact.rebuild(self.source)
        self.options.output.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._write(description, tensors, sha256)
        except (ModelError, KeyError, TypeError) as exc:
            why = f"this is not the model that was exported (sha256 {sha256})"
            raise ModelError(f"{self.source.folder}: {why}") from exc
        self.report.size, self.report.exact = self.options.output.stat().st_size, True
        return self.report

    @torch.no_grad()
    def _quantise(self, spool: Spool, record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, zlm.Tensor]]:
        shape = self.family.shape
        embedding = self.family.embedding()
        start = STARTS.get(self.source.model_type)
        words = vocabulary.read(self.source.folder, self.source.config, len(embedding), start, self.source.tokenizer())
        tokenizer = TextTokenizer(words.json, words.kind)
        builder = Builder(shape, words, self.window(), spool)
        start = len(words.tokens) if words.start is not None else words.tokens.index(b"\0")
        data = read_sample(self.options.calibration)
        sample = make_sample(data, tokenizer, start, min(RUN, builder.config["window"]))
        embedding = embedding[words.rows if words.start is None else [*words.rows, words.start]]
        positions = self.family.positions()
        builder.embedding(embedding, positions)
        run = Calibrator(
            self.family,
            canonical.embed(embedding, positions, sample.calibration[:, :-1]),
            canonical.embed(embedding, positions, sample.held[:, :-1]),
        )
        del embedding
        candidates = self._layers(run, builder)
        candidates.append(self._head(run, builder, words.rows, sample))
        tensors = builder.finish(run.largest)
        description = builder.description(self.options.name, self.source.origin, record)
        self._choose(candidates, description, tensors, sample)
        self._speed(description, tensors, sample)
        return description, tensors

    def _layers(self, run: Calibrator, builder: Builder) -> list[Candidate]:
        candidates = []
        with self.bar("layers", self.family.shape.layers) as tick:
            for index in range(self.family.shape.layers):
                layer: Integral = run.layer(index)
                builder.layer(layer)
                for name in MATRICES:
                    worth = layer.errors[name] / layer.matrices[name].q.size
                    candidates.append(Candidate(index, name, worth))
                tick(1)
        return candidates

    def _head(self, run: Calibrator, builder: Builder, rows: list[int], sample: Sample) -> Candidate:
        stored = self.family.head()
        head = Linear(stored.weight[rows], None if stored.bias is None else stored.bias[rows])
        del stored
        builder.head(head)
        bits = canonical.bits(head, run.held, sample.held[:, 1:], Rounding(self.family.shape))
        self.report.float_bits = portable.sum_of(bits) / sample.size
        self.report.tokens = bits.numel()
        error = portable.total((rounded(run.x, NARROW) - run.x).square())
        error = error / portable.total(run.x.square()).clamp_min(1e-20)
        return Candidate(HEAD, "head", portable.sum_of(error) / error.numel() / head.weight.numel())

    def _choose(
        self, candidates: list[Candidate], description: dict[str, Any], tensors: dict[str, zlm.Tensor], sample: Sample
    ) -> None:
        report, runs = self.report, sample.held.tolist()

        def measure(chosen: Sequence[Candidate]) -> float:
            set_wide(description["config"], description["layers"], chosen)
            report.integer_bits = integer_bits(description, tensors, runs) / sample.size
            return report.loss

        with self.bar("measuring", 2 + len(candidates).bit_length()) as tick:
            chosen, loss = choose(candidates, measure, tick)
        set_wide(description["config"], description["layers"], chosen)
        report.integer_bits = report.float_bits * (1 + loss)
        report.wide, report.inputs = len(chosen), len(candidates)

    def _speed(self, description: dict[str, Any], tensors: dict[str, zlm.Tensor], sample: Sample) -> None:
        model = _native.Model(description, tensors)
        start = int(sample.held[0, 0])
        rows = sample.held[:, 1:].tolist()
        begin = time.perf_counter()
        model.encode(rows, start)
        self.report.speed = sample.size / (time.perf_counter() - begin)


def import_model(options: ImportOptions, bar: Bar) -> Report:
    """Import a checkpoint.

    Raises:
        ModelError: it is not one that can be imported; nothing is written.
        UsageError: an option does not fit it.
    """
    try:
        return Import(options, bar).run()
    except ModelError as exc:
        if str(Path(options.source)) in str(exc):
            raise
        raise ModelError(f"{options.source}: {exc}") from exc
    except (MemoryError, RuntimeError) as exc:  # torch has its own words for too little memory
        if isinstance(exc, RuntimeError) and "allocate memory" not in str(exc):
            raise
        raise ModelError(f"{options.source}: not enough memory for its largest matrix") from exc
