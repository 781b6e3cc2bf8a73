"""What tests of jobs share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from zllm import _native as native

SOON = 60.0  # seconds; what hangs takes longer


def outcomes(
    jobs: Sequence[native.Job], lanes: int | Sequence[int], numbers: Sequence[int], **how: Any
) -> list[BaseException | None]:
    """What each thread of these numbers raises; they must all end. ``lanes``: of all, or of each."""
    each = [lanes] * len(numbers) if isinstance(lanes, int) else lanes
    raised: dict[int, BaseException | None] = {}

    def one(number: int, lanes: int) -> None:
        try:
            native.work(jobs, number, lanes, **how)
            raised[number] = None
        except BaseException as exc:
            raised[number] = exc

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in zip(numbers, each, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    return [raised[number] for number in numbers]


def together(job: native.Job, lanes: int) -> bytes:
    """What the job's threads make of it."""
    assert outcomes([job], lanes, range(job.threads)) == [None] * job.threads
    return job.result()


def in_team(jobs: Sequence[native.Job], threads: int, lanes: int) -> list[bytes]:
    """What so many threads make of jobs that they decode as a team."""
    assert outcomes(jobs, lanes, range(threads), team=native.Team(threads)) == [None] * threads
    return [job.result() for job in jobs]
