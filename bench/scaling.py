"""Time and peak memory by length of the text and number of threads, of whole processes at the default level."""

from __future__ import annotations

from bench.common import Outcome, Settings, Target, say
from bench.process import Trip, round_trip
from bench.texts import text

_MIB = 1 << 20
_SIZES, _THREADS = (1, 4, 16), (1, 2, 4)
_QUICK = 32 << 10  # stands for a MiB
_PIECE = 8 << 10
PEAK_MB, LINEAR = 300, 1.2


def measure(settings: Settings) -> Outcome:
    """One row for each length and number of threads; the first length with as many threads is what others relate to."""
    outcome = Outcome()
    unit = settings.bytes(_MIB, _QUICK)
    whole = text(settings.data, settings.corpus, unit * max(_SIZES))
    source = settings.scratch / "member"
    for threads in settings.threads or _THREADS:
        first: Trip | None = None
        for size in _SIZES:
            say(f"scaling: {size * unit:,} bytes, threads: {threads}")
            source.write_bytes(_share(whole, size))
            trip = round_trip(source, settings.scratch, threads)
            first = first or trip
            _add(outcome, threads, trip, first)
    peak = max(float(str(row[f"{way}_peak_mb"])) for row in outcome.rows for way in ("encode", "decode"))
    outcome.targets.append(Target("peak MB at any length and number of threads", peak, PEAK_MB, at_most=True))
    for way in ("encode", "decode"):
        slowest = max(float(str(row[f"{way}_s_per_mib_ratio"])) for row in outcome.rows)
        title = f"{way}: seconds a MiB over those of the shortest text, at most"
        outcome.targets.append(Target(title, slowest, LINEAR, at_most=True))
    return outcome


def _share(whole: bytes, size: int) -> bytes:
    """``size`` of every 16 pieces: what is short has the same mix of texts as what is long."""
    unit = len(whole) // max(_SIZES)
    step = unit // max(1, unit // _PIECE)
    starts = range(0, len(whole), step)
    return b"".join(whole[at : at + step] for number, at in enumerate(starts) if number % max(_SIZES) < size)


def _add(outcome: Outcome, threads: int, trip: Trip, first: Trip) -> None:
    facts: dict[str, object] = {"bytes": trip.size, "threads": threads, "codecs": trip.codecs}
    for way, mine, short in (("encode", trip.encode, first.encode), ("decode", trip.decode, first.decode)):
        per_mib, per_mib_first = mine.seconds / trip.size, short.seconds / first.size
        facts[f"{way}_s"] = round(mine.seconds, 2)
        facts[f"{way}_kb_s"] = round(trip.kb_s(way), 1)
        facts[f"{way}_s_per_mib_ratio"] = round(per_mib / per_mib_first, 3)
        facts[f"{way}_peak_mb"] = round(mine.peak_mb, 1)
    outcome.rows.append(facts)
    if not trip.exact:
        outcome.wrong.append(f"{trip.size:,} bytes, threads: {threads}")
