"""How much of the machine's int8 peak whole processes spend on useful work, for models of several sizes.

Useful work is what the mathematics needs: multiply-adds of the matrices, of the head, and of scores and values over the
context that there really is. The peak is what a plain blocked int8 matrix product reaches on all threads at once,
measured before and after each model (the better counts): each thread's best of many tries of 30 microseconds. What that
product sustains for a second is less where others use the machine too, so the work's share of it is shown as well
(``of_sustained``): the program loses what is missing there, its neighbours take the rest. Time is from the start of a
process to its end: import, loading, packing, tokens, the coder, everything. Models of random weights run the codec
alone (``bench.llm_process``), for no archive would use them; the default model also runs as ``zllm create`` and
``zllm cat``.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.common import Outcome, Settings, Target, say
from bench.process import Finished, round_trip, run
from bench.shapes import BUILT_IN, CONFIGS, Shape, make
from bench.texts import text
from zllm._native import kernel_rate
from zllm.benchmark.rivals import same
from zllm.errors import UsageError

_FULL, _QUICK = 2_000_000, 60_000
_LARGE = 50_000_000  # models with more weights get a tenth of the text, but by the fastest kernel
_ROUNDS, _REPEATS = 9, 400
_PRODUCT = (512, 512, 64)  # rows, columns, batch
_SUSTAINED = 15_000  # products that take half a second to two seconds; the scalar kernel takes 50 times as long
EFFICIENCY, LARGE_KB_S, LARGE_PEAK_MB = 0.45, 5.0, 600


@dataclass(frozen=True)
class _Coded:
    """A text coded both ways by one model and kernel."""

    what: str
    shape: Shape
    kernel: str
    size: int
    streams: list[int]
    encode: Finished
    decode: Finished


def measure(settings: Settings) -> Outcome:
    """One row for each model, kernel, and way to run it."""
    outcome = Outcome(about=("model", "run", "kernel", "way", "threads"))
    threads = next(iter(settings.threads), 2)
    size = settings.bytes(_FULL, _QUICK)
    whole = text(settings.data, settings.corpus, size)
    names = list(settings.models) or list(CONFIGS)
    if unknown := set(names) - set(CONFIGS):
        raise UsageError(f"no model {', '.join(sorted(unknown))}; there are {', '.join(CONFIGS)}")
    source = settings.scratch / "text"
    for name in names:
        say(f"efficiency: making model {name}")
        shape = make(name, settings.scratch)
        for place, kernel in enumerate(settings.wanted_kernels()):
            say(f"efficiency: {name}, {kernel}")
            source.write_bytes(whole[: size // 10] if place and shape.weights > _LARGE else whole)
            before, sustained = peak_rate(kernel, threads), sustained_rate(kernel, threads)
            found = _measure_model(shape, kernel, threads, source, outcome)
            peak = max(before, peak_rate(kernel, threads))
            sustained = statistics.mean((sustained, sustained_rate(kernel, threads)))
            for coded in found:
                _add(outcome, coded, threads, peak, sustained)
    return outcome


def peak_rate(kernel: str, threads: int) -> float:
    """Multiply-adds a second of that many threads at once: the median of several rounds."""
    repeats = _REPEATS if kernel != "generic" else 4
    return statistics.median(
        sum(_at_once(threads, lambda: kernel_rate(kernel, *_PRODUCT, repeats))) for _ in range(_ROUNDS)
    )


def sustained_rate(kernel: str, threads: int) -> float:
    """The same by the clock, over a second or so."""
    repeats = _SUSTAINED if kernel != "generic" else _SUSTAINED // 50

    def one() -> float:
        started = time.perf_counter()
        kernel_rate(kernel, *_PRODUCT, repeats)
        return math.prod(_PRODUCT) * repeats / (time.perf_counter() - started)

    return sum(_at_once(threads, one))


def _at_once(threads: int, work: Callable[[], float]) -> list[float]:
    barrier = threading.Barrier(threads)

    def one() -> float:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return [job.result() for job in [pool.submit(one) for _ in range(threads)]]


def _measure_model(shape: Shape, kernel: str, threads: int, source: Path, outcome: Outcome) -> list[_Coded]:
    size, scratch = source.stat().st_size, source.parent
    coded, out, report = (scratch / part for part in ("coded", "out", "streams.json"))
    command = [sys.executable, "-m", "bench.llm_process"]
    tail = [str(shape.path), str(threads)]
    encoded = run([*command, "encode", *tail, str(source), str(coded)], kernel, report)
    decoded = run([*command, "decode", *tail, str(coded), str(out)], kernel)
    streams: list[int] = json.loads(report.read_text())
    if not same(source, out):
        outcome.wrong.append(f"model {shape.name}, {kernel}")
    found = [_Coded("codec", shape, kernel, size, streams, encoded, decoded)]
    if shape.name == BUILT_IN:
        trip = round_trip(source, scratch, threads, kernel)
        if trip.codecs != "llm":
            outcome.notes.append(f"zllm create: coded by {trip.codecs}, not by the model alone")
        if not trip.exact:
            outcome.wrong.append(f"zllm create and cat, {kernel}")
        found.append(_Coded("zllm create, cat", shape, kernel, size, streams, trip.encode, trip.decode))
    return found


def _add(outcome: Outcome, coded: _Coded, threads: int, peak: float, sustained: float) -> None:
    shape, tokens = coded.shape, sum(coded.streams)
    work = shape.multiply_adds(coded.streams)
    title = f"{shape.name}, {coded.what}, {coded.kernel}"
    for way, done in (("encode", coded.encode), ("decode", coded.decode)):
        share, kb_s = work / done.seconds / peak, coded.size / 1000 / done.seconds
        outcome.rows.append(
            {
                "model": shape.name,
                "run": coded.what,
                "kernel": coded.kernel,
                "way": way,
                "threads": threads,
                "bytes": coded.size,
                "weights": shape.weights,
                "bytes_per_token": round(coded.size / tokens, 2),
                "kb_s": round(kb_s, 1),
                "tokens_s": round(tokens / done.seconds),
                "gmac_s": round(work / done.seconds / 1e9, 1),
                "peak_gmac_s": round(peak / 1e9, 1),
                "efficiency": round(share, 4),
                "of_sustained": round(share * peak / sustained, 4),
                "peak_mb": round(done.peak_mb, 1),
            }
        )
        outcome.targets.append(Target(f"{title}: {way}, share of the peak", share, EFFICIENCY))
        if shape.weights > _LARGE:
            outcome.targets.append(Target(f"{title}: {way}, KB/s", kb_s, LARGE_KB_S))
            outcome.targets.append(Target(f"{title}: {way}, peak MB", done.peak_mb, LARGE_PEAK_MB, at_most=True))
