"""Speed of the default model on English text, by kernel and number of threads, beside zpaq -m5 and zstd -19.

The others run on one core. zllm's and zpaq's times are of whole processes; zstd is called as a library, so its times
have no start-up in them. Ratios are of figures from one run; absolute figures are of this machine and of whatever else
it was doing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.common import Outcome, Row, Target, add_run, add_texts, parser, say
from bench.process import Finished, Trip, round_trip
from bench.texts import text
from zllm._native import usable_kernels
from zllm.benchmark.rivals import Rival, installed, same

_RIVALS = ("zpaq -m5", "zstd -19")
_FULL, _QUICK = 1_185_883, 60_000  # all of the prose
_WAYS = ("encode", "decode")
OF_ZPAQ, OF_VNNI = 1 / 3, 0.4


def main(arguments: list[str]) -> int:
    """Run; the exit code is 1 if anything did not come back exactly or (unless ``--quick``) a target was missed."""
    options = parser("speed", __doc__ or "")
    add_texts(options)
    add_run(options)
    options.add_argument(
        "--threads", type=int, nargs="+", metavar="N", default=(2, 1), help="numbers of threads (default: 2 1)"
    )
    given = options.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zllm-speed-") as scratch:
        outcome = measure(given, Path(scratch))
    return outcome.finish("speed", given)


def measure(given: argparse.Namespace, scratch: Path) -> Outcome:
    """Every kernel and thread count, and the rivals."""
    source = scratch / "text"
    source.write_bytes(text(given.data, given.corpus, given.bytes or (_QUICK if given.quick else _FULL)))
    rivals, notes = installed(_RIVALS)
    outcome = Outcome(notes=notes)
    others = {rival.name: _rival(rival, source, scratch, outcome) for rival in rivals}
    usable = usable_kernels()
    kernels = given.kernels or [name for name in usable if name != "generic"] or usable
    trips: dict[tuple[str, int], Trip] = {}
    for threads in given.threads:
        for kernel in kernels:
            say(f"speed: {kernel}, threads: {threads}")
            trips[kernel, threads] = round_trip(source, scratch, threads, kernel)
    for (kernel, threads), trip in trips.items():
        fastest = trips[next(iter(trips))[0], threads]
        outcome.rows.append(_zllm_row(f"zllm, {kernel}", threads, trip, fastest, others))
        if not trip.exact:
            outcome.wrong.append(f"{kernel}, threads: {threads}")
        if trip.codecs != "llm":
            outcome.notes.append(f"{kernel}, threads: {threads}: coded by {trip.codecs}, not by the model alone")
    outcome.rows += [_row(name, 1, trip, others) | {"of_fastest_kernel": ""} for name, trip in others.items()]
    outcome.targets = _targets(trips, others)
    return outcome


def _rival(rival: Rival, source: Path, scratch: Path, outcome: Outcome) -> Trip:
    say(f"speed: {rival.name}")
    coded, folder = scratch / f"coded{rival.suffix}", scratch / f"out-{rival.name}"
    folder.mkdir()
    started = time.perf_counter()
    rival.pack(source, coded)
    packed = time.perf_counter()
    back = rival.unpack(coded, folder)
    unpacked = time.perf_counter()
    encode, decode = (Finished(packed - started), Finished(unpacked - packed))
    trip = Trip(source.stat().st_size, coded.stat().st_size, rival.name, same(back, source), encode, decode)
    if not trip.exact:
        outcome.wrong.append(rival.name)
    return trip


def _row(name: str, threads: int, trip: Trip, others: dict[str, Trip]) -> Row:
    row: Row = {"name": name, "threads": threads, "bytes": trip.size, "size": trip.coded}
    for way in _WAYS:
        row[f"{way}_kb_s"] = round(trip.kb_s(way), 1)
    for rival in _RIVALS:
        for way in _WAYS:
            other = others.get(rival)
            row[f"{way}_vs_{rival}"] = round(trip.kb_s(way) / other.kb_s(way), 4) if other else ""
    return row


def _zllm_row(name: str, threads: int, trip: Trip, fastest: Trip, others: dict[str, Trip]) -> Row:
    """``of_fastest_kernel``: encoding and decoding together, over the first kernel's with as many threads."""
    total, best = (t.encode.seconds + t.decode.seconds for t in (trip, fastest))
    return _row(name, threads, trip, others) | {"of_fastest_kernel": round(best / total, 4)}


def _targets(trips: dict[tuple[str, int], Trip], others: dict[str, Trip]) -> list[Target]:
    found = []
    vnni, avx2, zpaq = trips.get(("avx512vnni", 2)), trips.get(("avx2", 2)), others.get("zpaq -m5")
    for way in _WAYS:
        if vnni and zpaq:
            ratio = vnni.kb_s(way) / zpaq.kb_s(way)
            found.append(Target(f"{way}, avx512vnni, 2 threads, over zpaq -m5", ratio, OF_ZPAQ))
        if vnni and avx2:
            found.append(Target(f"{way}, 2 threads, avx2 over avx512vnni", avx2.kb_s(way) / vnni.kb_s(way), OF_VNNI))
    return found
