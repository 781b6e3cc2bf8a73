"""Coding with a model that is computed elsewhere: predictor and range coder are C's, and so is the order of all turns.

Jobs are those of :meth:`zllm._native.Model.encoder` and ``decoder``, made for 0 threads. One thread at a time may work
at a job.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from zllm._native.core import checked, ffi, lib
from zllm._native.jobs import Job
from zllm._native.model import Model
from zllm._native.watching import Cancel, Counter, watched
from zllm.errors import UsageError

ENDED: int = lib.ZLLM_ENDED
"""The lane of a stream that is at its end."""
SUM_BLOCK = 64
"""Weights between two prefix sums that C takes; it adds up the weights between them."""


class Memory(NamedTuple):
    """``length`` numbers that C reads where they are; ``owner`` keeps them there."""

    address: int
    length: int
    owner: object


class Distributions(NamedTuple):
    """One a lane: all weights (uint32 [lanes][outputs], :attr:`Model.outputs`), and the sums of those before each
    64 of them (uint64 [lanes][outputs // 64 + 1])."""

    weights: Memory
    base: Memory


class Paths(NamedTuple):
    """The decisions on the tokens' paths through the byte trie: token t's are numbers first[t] to first[t + 1] - 1, and
    decision d is whether the token, of those from low[d] to high[d] - 1, is at or above split[d]. Of a head of two
    levels these are numbers of weights (:attr:`Model.outputs`): of classes, or of tokens behind them."""

    first: array[int]
    low: array[int]
    split: array[int]
    high: array[int]


def trie_paths(model: Model) -> Paths:
    """All of them: some twenty for each token of the vocabulary."""
    first = array("I", bytes(4 * (model.vocab + 1)))
    with ffi.from_buffer("uint32_t[]", first) as count:
        lib.zllm_trie_paths(model._model, count, ffi.NULL, ffi.NULL, ffi.NULL)
    parts = [first, *(array("I", bytes(4 * first[-1])) for _ in range(3))]
    with contextlib.ExitStack() as held:
        views = [held.enter_context(ffi.from_buffer("uint32_t[]", part)) for part in parts]
        lib.zllm_trie_paths(model._model, *views)
    return Paths(*parts)


def job_memory(model: Model, size: int, streams: int) -> int:
    """Bytes that a job of a text of that size holds."""
    return int(lib.zllm_job_memory(model._model, size, streams, 1))


def encode_turns(job: Job, probabilities: Memory, cancel: Cancel | None = None, counter: Counter | None = None) -> None:
    """Code a job's next tokens. ``probabilities``: the model's (uint32) of the decisions on these tokens' paths.

    Raises:
        RoomError: there is too little room for the code string.
        KeyboardInterrupt: ``cancel`` was set.
    """
    lm = ffi.cast("uint32_t *", probabilities.address)
    checked(lib.zllm_steps_encode(job._job, lm, probabilities.length, _run(cancel, counter)))


def decode_turns(
    model: Model,
    jobs: Sequence[Job],
    lanes: array[int],
    tokens: array[int],
    distributions: Distributions | None = None,
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
) -> None:
    """Decode a token of each stream.

    Args:
        model: the jobs' model.
        jobs: their streams, one job after the other, have the lanes ``lanes``. At its end, a stream's becomes
            :data:`ENDED`.
        lanes: see ``jobs``.
        tokens: by lane, what the model is to be fed next; it is written.
        distributions: None at first: then nothing is decoded, and ``tokens`` are those that streams start with.
        cancel: a flag that ends it.
        counter: counts bytes of text.

    Raises:
        DamagedError: a code string is not one that an encoder makes.
        KeyboardInterrupt: ``cancel`` was set.
    """
    if sum(job.streams for job in jobs) != len(lanes):
        raise UsageError("each stream needs a lane")
    given = ffi.NULL
    if distributions is not None:
        blocks = model.outputs // SUM_BLOCK + 1
        enough = len(tokens) * model.outputs
        if distributions.weights.length < enough or distributions.base.length < len(tokens) * blocks:
            raise UsageError("each lane needs a distribution")
        given = ffi.new("zllm_distributions *")
        given.weights = ffi.cast("uint32_t *", distributions.weights.address)
        given.base = ffi.cast("uint64_t *", distributions.base.address)
    listed = ffi.new("zllm_job *[]", [job._job for job in jobs])
    with ffi.from_buffer("uint32_t[]", lanes) as lane, ffi.from_buffer("uint32_t[]", tokens) as token:
        rc = lib.zllm_steps_decode(listed, len(jobs), lane, len(tokens), given, token, _run(cancel, counter))
    checked(rc)


def _run(cancel: Cancel | None, counter: Counter | None) -> Any:
    run = ffi.new("zllm_run *")
    run.cancel, run.progress = watched(cancel, counter)
    return run
