"""What tests of jobs share."""

from __future__ import annotations

import threading

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
