"""``--stats``: where time and bytes went, as two tables for people, on stderr."""

from __future__ import annotations

import sys
import time

from zllm.cli.output import Console
from zllm.stats import EMBEDDED, HEADERS, Row, Stats

# In the order in which the bytes pass them; stages of other packages' codecs come before writing.
_ORDER = ("reading", "sorting", "headers", "store", "lz4", "zstd", "cm", "probe", "tokenizing", "model")
_LAST = ("verifying", "hashing", "writing")
_NONE = "-"


def show(stats: Stats | None, console: Console) -> None:
    """Print what was collected, if that was asked for."""
    for line in lines(stats) if stats is not None else []:
        console.print(line)


def lines(stats: Stats) -> list[str]:
    """The tables, at most 80 columns wide."""
    result = []
    if stats.stages:
        result += [*_stages(stats), ""]
    if stats.codecs:
        result += [*_codecs(stats), ""]
    peak = peak_memory()
    memory = f", peak memory {peak / 1e6:.0f} MB" if peak is not None else ""
    elapsed = time.perf_counter() - stats.began
    result += [f"{elapsed:.2f} s by the clock, {time.process_time():.2f} s of processor time{memory}"]
    return result


def _stages(stats: Stats) -> list[str]:
    total = stats.seconds or 1.0
    result = [f"{'stage':16} {'seconds':>9} {'share':>6} {'bytes in':>17} {'bytes out':>17} {'KB/s':>10}"]
    for name in sorted(stats.stages, key=_rank):
        row = stats.stages[name]
        label = f"  {name.partition('/')[2]}" if "/" in name else name
        text = f"{label:16} {row.seconds:9.2f} {100 * row.seconds / total:5.1f}%"
        result.append(f"{text} {_bytes(row.bytes_in)} {_bytes(row.bytes_out)} {_speed(row)}".rstrip())
    result.append(f"{'all':16} {stats.seconds:9.2f}  seconds by the clock, added up over threads")
    return result


NO_FRAMES = (EMBEDDED, HEADERS)


def _rank(name: str) -> tuple[int, str, bool]:
    stage = name.partition("/")[0]
    if stage in _ORDER:
        return _ORDER.index(stage), stage, "/" in name
    return len(_ORDER) + (_LAST.index(stage) + 1 if stage in _LAST else 0), stage, "/" in name


def _codecs(stats: Stats) -> list[str]:
    result = [f"{'codec':16} {'frames':>9} {'bytes':>17} {'in the archive':>17} {'bits/byte':>9}"]
    rows = dict(sorted(stats.codecs.items(), key=lambda item: (item[0] in NO_FRAMES, item[0])))
    for name, row in rows.items():
        frames = f"{_NONE:>9}" if name in NO_FRAMES else f"{row.count:9,}"
        result.append(f"{name[:16]:16} {frames} {_bytes(row.bytes_in)} {_bytes(row.bytes_out)} {_rate(row)}")
    whole = Row()
    whole.bytes_in = sum(row.bytes_in for row in rows.values())
    whole.bytes_out = sum(row.bytes_out for row in rows.values())
    whole.count = sum(row.count for name, row in rows.items() if name not in NO_FRAMES)
    result.append(f"{'all':16} {whole.count:9,} {_bytes(whole.bytes_in)} {_bytes(whole.bytes_out)} {_rate(whole)}")
    return result


def _bytes(count: int) -> str:
    return f"{count:17,}" if count else f"{_NONE:>17}"


def _speed(row: Row) -> str:
    size = max(row.bytes_in, row.bytes_out)
    return f"{size / 1000 / row.seconds:10,.0f}" if size and row.seconds else f"{_NONE:>10}"


def _rate(row: Row) -> str:
    return f"{8 * row.bytes_out / row.bytes_in:9.3f}" if row.bytes_in else f"{_NONE:>9}"


def peak_memory() -> int | None:
    """Most bytes of memory that this process had at once; None where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
