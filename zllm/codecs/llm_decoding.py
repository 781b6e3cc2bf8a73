"""Decoding frames of text with a model."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from zllm._native import Job, Team
from zllm._native import Model as NativeModel
from zllm.codecs.base import Run
from zllm.codecs.llm_frames import Frame
from zllm.codecs.llm_work import Coding, Model, Shared
from zllm.codecs.scheduling import Scheduling
from zllm.codecs.threads import in_threads


def lane_count(model: NativeModel, scheduling: Scheduling) -> int:
    """Streams of small frames that one thread decodes at once; of a large one it takes all (:attr:`Scheduling.lanes`).

    The keys and values of all lanes, and the model, come by once a token. A model that fits into the last cache shares
    it with so many lanes only; one that does not is read from memory, the more rarely the more lanes there are, as
    far as their keys and values leave other programs some room.
    """
    near = model.memory <= scheduling.last_cache_bytes
    room = scheduling.near_bytes if near else scheduling.far_bytes
    return min(scheduling.lanes, max(8, room // model.stream_memory))


class FrameDecoding(Coding):
    """Decodes as many streams in a step as suit the model (:func:`lane_count`)."""

    def __init__(self, model: Model, scheduling: Scheduling, run: Run) -> None:
        super().__init__(model, scheduling, run, lane_count(model.native, scheduling))

    def streams_of(self, frame: Frame) -> int:
        """See :meth:`Coding.streams_of`."""
        return len(frame.ends)

    def apart(self, streams: int) -> bool:
        """See :meth:`Coding.apart`.

        Threads that share a frame mix in turns, its predictor goes from one's cache to the other's and back, and their
        steps are emptier.
        """
        return streams <= self.scheduling.lanes or streams < self.scheduling.fewest_shared_streams * self.run.threads

    def rows_for(self, unit: list[Frame]) -> int:
        """See :meth:`Coding.rows_for`. All streams of a frame: they share a predictor, as small frames do not."""
        return max(self.rows, min(self.scheduling.lanes, self.streams_of(unit[0])))

    def make(self, frame: Frame, threads: int) -> Job:
        """See :meth:`Coding.make`."""
        streams = []
        for start, end in zip([0, *frame.ends], frame.ends, strict=False):
            inner = frame.boundaries[bisect_right(frame.boundaries, start) : bisect_left(frame.boundaries, end)]
            streams.append((end - start, [boundary - start for boundary in inner]))
        return self.native.decoder(frame.data, streams, self.model.start, threads)


class TeamDecoding(FrameDecoding):
    """Decodes with a model that is larger than the caches: by all threads at once, some frames after the others.

    A decoded token reads every weight, and from memory that takes longer than the products do. So all threads work at
    the same step, each at some rows of every matrix: the weights come by once for as many streams as there are lanes,
    not once for each thread's share of them. For a smaller model it is not worth the waiting (``docs/decisions``).
    """

    def code(self, frames: list[Frame]) -> None:
        """See :meth:`Coding.code`."""
        threads = min(self.run.threads, self.scheduling.most_in_team)
        units = self._units(frames, self.rows, self.scheduling.batch_bytes)
        self.shared = [Shared(unit, Team(threads)) for unit in units]
        in_threads(self._thread, threads if frames else 0, self.run)
