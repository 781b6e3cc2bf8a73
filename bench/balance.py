"""Decoding beside encoding at every level that uses the model, single members, and how soon anything comes.

All times are of whole processes with two threads.
"""

from __future__ import annotations

from pathlib import Path

from bench.common import Outcome, Row, Settings, Target, say
from bench.process import Trip, round_trip, run_zllm
from bench.texts import text
from zllm.planner.levels import DEFAULT_LEVEL, LEVELS

_FULL, _QUICK = 4 << 20, 40_000
_MEMBER, _SMALL = 256 << 10, 4 << 10
_REPEATS = 5
BALANCE, SMALL_SECONDS, STARTUP_SECONDS = 0.8, 0.2, 0.3


def measure(settings: Settings) -> Outcome:
    """One row a level, one for the single member, one for the small one."""
    outcome = Outcome()
    size = settings.bytes(_FULL, _QUICK)
    whole = text(settings.data, settings.corpus, size)
    for level in (level.number for level in LEVELS.values() if level.llm):
        trip = _trip(f"level {level}", whole, settings, level, 1)
        _add(outcome, f"text, level {level}", trip)
        outcome.targets.append(Target(f"{size:,} bytes, level {level}: decoding over encoding", trip.balance, BALANCE))
    trip = _trip("one member", whole[: min(size, _MEMBER)], settings, DEFAULT_LEVEL, 1 if settings.quick else 3)
    _add(outcome, f"one member, level {DEFAULT_LEVEL}", trip)
    outcome.targets.append(Target(f"one member of {trip.size:,} bytes: decoding over encoding", trip.balance, BALANCE))
    trip = _trip("small member", whole[:_SMALL], settings, DEFAULT_LEVEL, _REPEATS)
    _add(outcome, f"small member, best of {_REPEATS}", trip)
    title = f"member of {trip.size:,} bytes: seconds to the"
    outcome.targets.append(Target(f"{title} last byte", trip.decode.seconds, SMALL_SECONDS, at_most=True))
    outcome.targets.append(Target(f"{title} first byte of cat", trip.decode.first_byte, STARTUP_SECONDS, at_most=True))
    packed = _packed_to_pipe(settings.scratch / "member")
    outcome.targets.append(Target(f"{title} last byte of create", packed, STARTUP_SECONDS, at_most=True))
    return outcome


def _trip(what: str, content: bytes, settings: Settings, level: int, repeats: int) -> Trip:
    say(f"balance: {what}")
    member = settings.scratch / "member"
    member.write_bytes(content)
    return round_trip(member, settings.scratch, 2, level=level, repeats=repeats)


def _packed_to_pipe(member: Path) -> float:
    """Seconds that packing takes: import, model, tokenizer and all."""
    runs = (run_zllm("create", "-j", "2", "-", "-C", member.parent, member.name) for _ in range(_REPEATS))
    return min(done.seconds for done in runs)


def _add(outcome: Outcome, title: str, trip: Trip) -> None:
    row: Row = {"what": title, "bytes": trip.size, "size": trip.coded, "codecs": trip.codecs}
    row |= {"encode_s": round(trip.encode.seconds, 3), "decode_s": round(trip.decode.seconds, 3)}
    row |= {"encode_kb_s": round(trip.kb_s("encode"), 1), "decode_kb_s": round(trip.kb_s("decode"), 1)}
    row |= {"decode_over_encode": round(trip.balance, 3), "first_byte_s": round(trip.decode.first_byte, 3)}
    outcome.rows.append(row)
    if not trip.exact:
        outcome.wrong.append(title)
    if trip.codecs != "llm":
        outcome.notes.append(f"{title}: coded by {trip.codecs}, not by the model alone")
