"""What a member costs beyond its name and its coded data: 5,000 small files, headers in each format of tarfile."""

from __future__ import annotations

import io
import random
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.common import parser, say, write_csv

LIMIT = 64
AIM = 48
_FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
_FOLDERS = ("docs/guide", "docs/reference/api", "src/core", "src/plugins/io", "tests/unit", "data/2024")
_STEMS = ("index", "parser", "reader_utils", "notes-on-design", "test_roundtrip", "config", "a", "changelog")


def main(arguments: list[str]) -> int:
    """Run; exit code 1 if a member costs more than 64 bytes beside its name."""
    options = parser("overhead", __doc__ or "")
    options.add_argument("--members", type=int, default=5000, help="(default: %(default)s)")
    # Neither the level nor the model changes what headers cost; this one is quick.
    options.set_defaults(level=3)
    given = options.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="zllm-overhead-") as name:
        for title, tar_format in _FORMATS.items():
            say(title)
            rows.append(measure(title, tar_format, given.members, given.level, Path(name) / "a.zllm"))
    sys.stdout.write(" ".join(f"{key:>16}" for key in rows[0]) + "\n")
    for row in rows:
        sys.stdout.write(" ".join(f"{value!s:>16}" for value in row.values()) + "\n")
    write_csv(given.results / "overhead.csv", rows)
    return 0 if all(float(str(row["per_member"])) <= LIMIT for row in rows) else 1


def measure(title: str, tar_format: int, count: int, level: int, archive: Path) -> dict[str, object]:
    """One archive. ``per_member``: (archive - coded data - names) / members; 32 bytes of it are a member's SHA-256.

    Names are counted at their length although they are compressed, which is why this can be below 32; ``with_name`` is
    free of that.
    """
    import zllm

    with zllm.open(archive, "w", level=level, llm=False, format=tar_format) as out:
        for info, data in members(count, tar_format):
            out.addfile(info, io.BytesIO(data))
    with zllm.open(archive) as read:
        infos = [info for info in read.getmembers() if isinstance(info, zllm.ZllmInfo)]
        coded = sum(info.coded_size for info in infos)
    size = archive.stat().st_size
    names = sum(len(info.name.encode()) for info in infos)
    return {
        "headers": title,
        "members": count,
        "archive": size,
        "coded_data": coded,
        "names": names,
        "per_member": round((size - coded - names) / count, 2),
        "with_name": round((size - coded) / count, 2),
        "tar_per_member": round(_tar_overhead(count, tar_format) - names / count, 2),
    }


def members(count: int, tar_format: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Small text files with the metadata of a real tree: one owner, few modes, times to the nanosecond (pax only)."""
    rng = random.Random(20)
    for number in range(count):
        info = tarfile.TarInfo(f"{rng.choice(_FOLDERS)}/{rng.choice(_STEMS)}{number:04}.txt")
        info.mtime = 1_700_000_000 + rng.randrange(10**7)
        if tar_format == tarfile.PAX_FORMAT:
            info.mtime += rng.randrange(10**9) / 1e9
        info.mode = rng.choice((0o644, 0o644, 0o644, 0o755))
        info.uid = info.gid = 1000
        info.uname = info.gname = "builder"
        data = f"member {number}: {rng.random()}\n".encode() * rng.randint(1, 60)
        info.size = len(data)
        yield info, data


def _tar_overhead(count: int, tar_format: int) -> float:
    """The same for a plain tar, names included."""
    out = io.BytesIO()
    data = 0
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for info, content in members(count, tar_format):
            tar.addfile(info, io.BytesIO(content))
            data += len(content)
    return (len(out.getvalue()) - data) / count
