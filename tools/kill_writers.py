"""Kills commands that write archives at random moments: python tools/kill_writers.py [--moments 300] [--seed 1]

Each command runs in a process of its own, which gets SIGKILL after a random part of the time that the command takes.
Afterwards the archive has to be as it was before or as it is after, every member whole, and a further change has to
work and leave no temporary file. Prints a line for each command; exits with 1 if anything else was seen.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from zllm.archive.archive import Archive
from zllm.cli.main import main as zllm

COMMANDS = {
    "create": ["create", "-2", "-q", "--force", "a.zllm", "d"],
    "append": ["append", "-q", "a.zllm", "d/0", "d/1", "d/2", "new"],
    "update": ["update", "-q", "--delete", "a.zllm", "d"],
    "delete": ["delete", "-q", "a.zllm", "d/5", "d/large"],
    "compact": ["compact", "-q", "a.zllm"],
}
FILES = 40


def state(name: str) -> dict[str, bytes] | str:
    """What is in an archive; what is wrong with it, if anything is."""
    try:
        with open(name, "rb") as file:
            archive = Archive(file)
            found = {}
            for member in archive:
                data = archive.open(member)
                found[member.name] = b"" if data is None else data.read()
            return str(archive.problems) if archive.problems else found
    except Exception as error:
        return repr(error)


def make(rng: random.Random) -> None:
    """A folder, an archive of it with three generations, and what has changed since."""
    os.mkdir("d")
    for number in range(FILES):
        Path("d", str(number)).write_bytes(rng.randbytes(rng.randrange(60_000)))
    os.link("d/5", "d/link")
    Path("d", "large").write_bytes(rng.randbytes(3 << 20))
    Path("new").write_bytes(b"new" * 5000)
    run(COMMANDS["create"])
    for number in (3, 4):
        Path("d", str(number)).write_bytes(rng.randbytes(70_000))
        run(COMMANDS["update"])
    for number in range(10):
        Path("d", str(number)).write_bytes(rng.randbytes(90_000))
    os.unlink("d/20")


def run(words: list[str]) -> None:
    """A command that has to work."""
    if zllm(words):
        raise SystemExit(f"{' '.join(words)} failed")


def killed(words: list[str], delay: float) -> bool:
    """Whether a process that runs a command was killed after ``delay`` seconds; else it had ended."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os._exit(zllm(words))
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check(name: str, moments: int, rng: random.Random) -> bool:
    """One command, killed many times; whether all was well."""
    words = COMMANDS[name]
    shutil.copy("whole.zllm", "a.zllm")
    before = state("a.zllm")
    started = time.monotonic()
    run(words)
    longest = time.monotonic() - started
    after = state("a.zllm")
    seen = {"before": 0, "after": 0, "other": 0}
    deaths = left = 0
    for _ in range(moments):
        shutil.copy("whole.zllm", "a.zllm")
        deaths += killed(words, rng.random() * longest * 1.3)
        found = state("a.zllm")
        seen["before" if found == before else "after" if found == after else "other"] += 1
        run(["append", "-q", "a.zllm", "new"])
        if not isinstance(now := state("a.zllm"), dict) or now.get("new") != b"new" * 5000:
            seen["other"] += 1
        left += bool([file for file in os.listdir() if file.endswith(".part")]) and name != "create"
        if name == "create":
            run(words)
            left += any(file.endswith(".part") for file in os.listdir())
    print(f"{name:8} {moments} moments, {deaths} killed: {seen}, left by the next run: {left}", flush=True)
    return not seen["other"] and not left


def main() -> int:
    """Do it in a temporary folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--moments", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make(rng)
        shutil.copy("a.zllm", "whole.zllm")
        results = [check(name, args.moments, rng) for name in COMMANDS]
        os.chdir("/")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
