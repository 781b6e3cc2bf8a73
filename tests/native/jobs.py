"""What tests of jobs share."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from zllm import _native as native


def together(job: native.Job, lanes: int) -> bytes:
    """What the job's threads make of it."""
    threads = [threading.Thread(target=native.work, args=([job], k, lanes)) for k in range(job.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return job.result()


def in_team(jobs: Sequence[native.Job], threads: int, lanes: int) -> list[bytes]:
    """What so many threads make of jobs that they decode as a team."""
    team = native.Team(threads)
    members = [
        threading.Thread(target=native.work, args=(jobs, k, lanes), kwargs={"team": team}) for k in range(threads)
    ]
    for thread in members:
        thread.start()
    for thread in members:
        thread.join(60)
        assert not thread.is_alive()
    return [job.result() for job in jobs]
