"""The default model on English text beside zpaq -m5 and zstd -19, which run on one core.

zllm's and zpaq's times are of whole processes; zstd's, a library here, has no start-up in it.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.common import Outcome, Row, Settings, Target, say
from bench.process import Finished, Trip, round_trip
from bench.texts import text
from zllm.benchmark.rivals import Rival, installed, same

_RIVALS = ("zpaq -m5", "zstd -19")
_FULL, _QUICK = 1_185_883, 60_000  # all of the prose
_WAYS = ("encode", "decode")
OF_ZPAQ, OF_VNNI = 1 / 3, 0.4


def measure(settings: Settings) -> Outcome:
    """Every kernel and thread count, and the rivals."""
    source = settings.scratch / "text"
    source.write_bytes(text(settings.data, settings.corpus, settings.bytes(_FULL, _QUICK)))
    rivals, notes = installed(_RIVALS)
    outcome = Outcome(notes=notes)
    others = {rival.name: _rival(rival, source, settings.scratch, outcome) for rival in rivals}
    trips: dict[tuple[str, int], Trip] = {}
    for threads in settings.threads or (2, 1):
        for kernel in settings.wanted_kernels():
            say(f"peers: {kernel}, threads: {threads}")
            trips[kernel, threads] = round_trip(source, settings.scratch, threads, kernel)
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
    say(f"peers: {rival.name}")
    coded, folder = scratch / f"coded{rival.suffix}", scratch / f"out-{rival.name}"
    folder.mkdir()
    started = time.perf_counter()
    rival.pack(source, coded)
    packed = time.perf_counter()
    back = rival.unpack(coded, folder)
    unpacked = time.perf_counter()
    encode, decode = (Finished(seconds, 0.0, 0.0) for seconds in (packed - started, unpacked - packed))
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
