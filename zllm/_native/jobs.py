"""Frames in work: what threads code together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zllm._native.core import checked, ffi, lib
from zllm._native.watching import Cancel, Counter, Stages


class Job:
    """A frame that one or several threads code together: each calls :func:`work` with its number.

    Made for 0 threads, it is worked on by :mod:`zllm._native.steps`.
    """

    def __init__(self, model: Any, frame: Any, keep: list[Any], start: int, threads: int, *, decoding: bool) -> None:
        self._frame, self._keep, self._decoding, self.threads = frame, keep, decoding, threads
        out = ffi.new("zllm_job **")
        checked(lib.zllm_job_new(model, frame, start, threads, int(decoding), ffi.NULL, out))
        memory = lib.zllm_job_memory(model, frame.size, frame.n_streams, int(decoding))
        self._job = ffi.gc(out[0], lib.zllm_job_free, size=memory)
        self._model = model  # must outlive the job
        self.streams: int = frame.n_streams

    def result(self) -> bytes:
        """The code string, or the text. The job's memory is given back."""
        ffi.release(self._job)
        if self._decoding:
            return bytes(ffi.buffer(self._frame.data, self._frame.size))
        return bytes(ffi.buffer(self._frame.coded, self._frame.coded_size))


class Team:
    """Threads, from 1 to 256 (else UsageError), that decode one set of jobs, all at the same products: :func:`work`."""

    def __init__(self, threads: int) -> None:
        out = ffi.new("zllm_team **")
        checked(lib.zllm_team_new(threads, ffi.NULL, out))
        self._team = ffi.gc(out[0], lib.zllm_team_free)
        self.threads = threads


def work(
    jobs: Sequence[Job],
    thread: int,
    lanes: int = 32,
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
    stages: Stages | None = None,
    team: Team | None = None,
) -> None:
    """The part of thread number ``thread``, in steps of ``lanes`` rows; several jobs only if it is their only thread.

    With a ``team``, its threads are one in this: each calls this once, with the same jobs, made for one thread.

    Raises:
        DamagedError: a code string is not one that an encoder makes.
        RoomError: there is too little room for a code string.
        UsageError: the jobs are not for such threads, lanes or teams, or not of one model and direction.
        KeyboardInterrupt: ``cancel`` was set.
    """
    run = ffi.new("zllm_run *")
    run.lanes = lanes
    run.cancel = cancel._flag if cancel else ffi.NULL
    run.progress = counter._count if counter else ffi.NULL
    run.nanoseconds = stages._nanoseconds if stages else ffi.NULL
    run.team = team._team if team else ffi.NULL
    checked(lib.zllm_job_work(ffi.new("zllm_job *[]", [job._job for job in jobs]), len(jobs), thread, run))


def new_frame(n_streams: int, size: int) -> tuple[Any, list[Any]]:
    """An empty frame, and what must be kept as long as it is used, its streams first."""
    streams = ffi.new("zllm_stream[]", n_streams)
    frame = ffi.new("zllm_frame *")
    frame.streams, frame.n_streams, frame.size = streams, n_streams, size
    return frame, [streams]
