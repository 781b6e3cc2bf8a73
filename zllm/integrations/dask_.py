"""Frames coded by the workers of a dask cluster (``docs/dask.md``).

What is sent is a batch of frames for one codec, in parcels of about a second's work for one core. Everything that looks
at more than a frame (sorting, cutting into frames, which codec wins) stays here; a frame's payload depends on the frame
alone. So neither the number of workers nor one that dies shows in the archive: dask gives its tasks to another.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from zllm.codecs.base import Buffer, Codec, Run
from zllm.codecs.llm import LlmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import ClusterError, MissingDependencyError
from zllm.integrations import dask_worker
from zllm.integrations.dask_worker import Order, Parcel, Reply

try:
    import dask.config
    import dask.utils
    import distributed
    import distributed.comm
except ImportError as exc:
    raise MissingDependencyError("distributed", "pip install 'zllm[dask]'", "coding on a dask cluster") from exc

if TYPE_CHECKING:
    from zllm.models.store import Model

# Nanoseconds: of work in a parcel of small frames, and a byte of which is worth sending. Faster codecs, such as zstd at
# low levels, code 10 MB/s and more: sending the data takes as long.
_PARCEL = 700_000_000
_WORTH_SENDING = 100
_SLOW_ZSTD = 10
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0  # between two looks at whether anybody is still at work
# A section has few large text frames at once, and while one of its frames is late the others' workers need work.
_THREADS_PER_SECTION = 16
_MAX_SECTIONS = 8
_CLOSE_SECONDS = 5
# What dask raises when it does not reach a machine; some of them are not what they are called in Python 3.10.
_LOST = (OSError, TimeoutError, distributed.TimeoutError, distributed.CancelledError)

Item: TypeAlias = tuple[Buffer, Sequence[int]]


def _check_address(address: str) -> None:
    """A client that is given a wrong one does not end well."""
    try:
        distributed.comm.resolve_address(address)
    except (OSError, ValueError) as exc:
        raise ClusterError(
            f"{address!r} is not the address of a dask scheduler: {str(exc) or type(exc).__name__}"
        ) from exc
    tls = distributed.Security().get_connection_args("client")
    if address.startswith("tls://") and not tls["ssl_context"]:
        raise ClusterError(f"{address} needs certificates: name them in dask's distributed.comm.tls")


def _connect(address: str, patience: float) -> distributed.Client:
    _check_address(address)
    made: SimpleQueue[distributed.Client | Exception] = SimpleQueue()

    def make() -> None:
        try:
            made.put(distributed.Client(address, timeout=patience, set_as_default=False))
        except Exception as exc:  # of the other side's making; raised below
            made.put(exc)

    # With a server that is not a scheduler some versions of dask wait for ever.
    try:
        threading.Thread(target=make, name="zllm-dask", daemon=True).start()
    except RuntimeError as exc:
        raise ClusterError(f"no thread can be started, and dask needs some: {_line(exc)}") from exc
    try:
        client = made.get(timeout=patience + _CLOSE_SECONDS)
    except Empty:
        client = TimeoutError()
    if isinstance(client, _LOST):
        raise ClusterError(
            f"no dask scheduler answered at {address} within {patience:g} s: start one with dask scheduler"
        ) from client
    if isinstance(client, Exception):
        raise ClusterError(f"the dask scheduler at {address} does not work: {_line(client)}") from client
    return client


class Cluster:
    """A dask cluster that codes frames, for :class:`zllm.archive.options.WriteOptions`.

    ``address`` is the scheduler's, as dask writes it. How long it may take to answer, and for a worker to be there, is
    dask's ``distributed.comm.timeouts.connect``; encryption and whatever else is dask's configuration, too.

    Raises:
        ClusterError: it cannot be reached, has no workers, or some that would not make the same bytes.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._patience = float(dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))
        self._lock = threading.Lock()
        self._waiting = 0  # tasks, of all batches
        self._model_files: dict[bytes, distributed.Future] = {}
        self._alone_since: float | None = None
        self._looked = time.monotonic()
        self._software = dask_worker.software()
        self._client = _connect(address, self._patience)
        # dask warns of tasks with much data in them; but such data survives the workers.
        self._config = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})
        try:
            self._threads = self._meet()
        except BaseException:
            self.close()
            raise

    def _meet(self) -> dict[str, int]:
        """The workers and their threads, when all are known to be alike."""
        with self._speaking():
            try:
                self._client.wait_for_workers(1, timeout=self._patience)
            except (TimeoutError, distributed.TimeoutError):
                raise ClusterError(
                    f"the dask scheduler at {self.address} has no workers: start some with dask worker {self.address}"
                ) from None
            self._look_at_scheduler()
            for worker, answer in self._ask(dask_worker.software).items():
                if problem := dask_worker.difference(answer, self._software):
                    raise ClusterError(f"dask worker {worker}: {problem}")
            return dict(self._client.nthreads())

    def _look_at_scheduler(self) -> None:
        # It unpacks tasks on their way. Which version it has does not matter.
        try:
            self._client.run_on_scheduler(dask_worker.software)
        except _LOST:
            raise
        except Exception as exc:  # whatever importing raises over there
            raise ClusterError(
                f"the dask scheduler at {self.address} has no zllm that works, which it needs: {_line(exc)}"
            ) from exc

    def _ask(self, function: Any, *args: Any) -> dict[str, Any]:
        """What all workers answer. One that is lost meanwhile gives none, and needs to give none."""
        answers = self._client.run(function, *args, on_error="return")
        for worker, answer in answers.items():
            if isinstance(answer, Exception) and not isinstance(answer, _LOST):
                raise ClusterError(f"dask worker {worker} has no zllm that works: {_line(answer)}")
        return {worker: answer for worker, answer in answers.items() if not isinstance(answer, Exception)}

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Whatever dask raises when the scheduler is lost, as one error."""
        try:
            yield
        except _LOST as exc:
            raise self._lost() from exc

    def _lost(self) -> ClusterError:
        return ClusterError(f"the connection to the dask scheduler at {self.address} is lost: try again")

    @property
    def sections(self) -> int:
        """To have in work at the same time. Each takes up to 130 MB here."""
        return min(_MAX_SECTIONS, 2 + sum(self._threads.values()) // _THREADS_PER_SECTION)

    def wrap(self, codec: Codec) -> Codec:
        """``codec``, coding over there; or itself, where sending takes as long."""
        if isinstance(codec, LlmCodec):
            model: Model = codec.model  # type: ignore[assignment]
            with self._speaking():
                answers = self._ask(dask_worker.has_model, model.sha256)
            if not all(answers.values()):
                self.send_model(model)
            order = Order(codec.name, codec.settings(), self._software, model.sha256, model.known_answer)
            return _Remote(self, codec, order, model)
        fast = codec.level < _SLOW_ZSTD if isinstance(codec, ZstdCodec) else codec.cost.encode < _WORTH_SENDING
        if fast or codec.needs_model:
            return codec
        return _Remote(self, codec, Order(codec.name, codec.settings(), dask_worker.software(codec.name)))

    def send_model(self, model: Model) -> None:
        """Make the model's file a result of the cluster: it goes to each worker that needs it, and dask can make it
        again when all that had it are dead.
        """
        with self._lock:
            if model.sha256 not in self._model_files:
                self._model_files[model.sha256] = self._submit(dask_worker.keep, bytes(model.data), name="model")

    def _submit(self, function: Any, *args: Any, name: str) -> distributed.Future:
        return self._client.submit(function, *args, key=f"zllm-{name}-{uuid.uuid4().hex}", pure=False)

    def work(self, remote: _Remote, parts: list[list[Item]], run: Run) -> list[bytes]:
        """The payloads of all frames of all parts."""
        batch = _Batch(self, remote, parts)
        with self._lock:
            self._waiting += len(parts)
        try:
            return batch.run(run)
        finally:
            with self._lock:
                self._waiting -= len(parts)

    def send(self, order: Order, items: list[Item]) -> distributed.Future:
        """A task for some frames."""
        with self._lock:
            share = sum(self._threads.values()) // max(1, self._waiting)
        threads = max(1, min(share, max(self._threads.values(), default=1)))
        # Pickled here: on its way, the scheduler opens what it is sent, but not this.
        parcel = pickle.dumps(Parcel(order, [(bytes(data), tuple(boundaries)) for data, boundaries in items], threads))
        files = [self._model_files[order.model]] if order.model in self._model_files else []
        return self._submit(dask_worker.code, parcel, *files, name=order.codec)

    def check(self) -> None:
        """Look now and then whether there is still a scheduler, and a worker.

        Raises:
            ClusterError: there is none, for too long.
        """
        if self._client.status != "running":
            raise self._lost()
        with self._lock:
            now = time.monotonic()
            if now - self._looked < _LOOK_SECONDS:
                return
            self._looked = now
        with self._speaking():
            self._threads = dict(self._client.nthreads())
        if self._threads:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self._patience:
            raise ClusterError(
                f"all dask workers of {self.address} are gone, and none came within {self._patience:g} s"
            )

    def result(self, future: distributed.Future) -> Reply:
        """What a task that is done came to.

        Raises:
            ClusterError: nothing good; it says on which worker.
        """
        with self._speaking():
            failure = self._wait(lambda seconds: future.exception(timeout=seconds))
            if isinstance(failure, distributed.KilledWorker):
                raise ClusterError(
                    f"dask worker {failure.last_worker.address} died, like others before it, while it coded"
                    " the same frames: has it enough memory?"
                )
            if isinstance(failure, distributed.CancelledError):
                raise failure
            if failure is not None:
                raise ClusterError(f"the dask cluster at {self.address} failed: {_line(failure)}")
            reply: Reply = self._wait(lambda seconds: future.result(timeout=seconds))
        if reply.problem:
            raise ClusterError(f"dask worker {reply.worker}: {reply.problem}")
        return reply

    def _wait(self, ask: Callable[[float], Any]) -> Any:
        """What a future has that was done: it is not any more if its worker has died since."""
        while True:
            try:
                return ask(_LOOK_SECONDS)
            except (TimeoutError, distributed.TimeoutError):
                self.check()

    def cancel(self, futures: Sequence[distributed.Future]) -> None:
        """Nobody wants these any more. A parcel that a worker has begun is finished and thrown away."""
        if futures and self._client.status == "running":
            with contextlib.suppress(*_LOST):
                self._client.cancel(list(futures), force=True)

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._model_files.clear()
        with self._config, contextlib.suppress(*_LOST):
            self._client.close(timeout=_CLOSE_SECONDS)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Batch:
    """Parcels under way, of one call of a codec."""

    def __init__(self, cluster: Cluster, remote: _Remote, parts: list[list[Item]]) -> None:
        self.cluster = cluster
        self.remote = remote
        self.parts = parts
        self._futures: dict[int, distributed.Future] = {}
        self._done: SimpleQueue[int] = SimpleQueue()

    def run(self, run: Run) -> list[bytes]:
        """Send all, wait for all; on an error or a cancellation all are called off."""
        payloads: list[list[bytes]] = [[] for _ in self.parts]
        try:
            for number in range(len(self.parts)):
                run.check()
                self._send(number)
            while self._futures:
                number = self._next(run)
                reply = self.cluster.result(self._futures.pop(number))
                if reply.needs_model and self.remote.model is not None:
                    self.cluster.send_model(self.remote.model)
                    self._send(number)
                    continue
                payloads[number] = reply.payloads
                self._count(number, reply, run)
        except BaseException:
            self.cluster.cancel(list(self._futures.values()))
            raise
        return [payload for part in payloads for payload in part]

    def _send(self, number: int) -> None:
        future = self.cluster.send(self.remote.order, self.parts[number])
        self._futures[number] = future
        future.add_done_callback(lambda _: self._done.put(number))

    def _next(self, run: Run) -> int:
        while True:
            run.check()
            try:
                return self._done.get(timeout=_POLL_SECONDS)
            except Empty:
                self.cluster.check()

    def _count(self, number: int, reply: Reply, run: Run) -> None:
        size = sum(len(data) for data, _ in self.parts[number])
        if run.stats is not None:
            coded = sum(map(len, reply.payloads))
            run.stats.add(f"{self.remote.name} on workers", reply.seconds, size, coded)
        run.done(size)


class _Remote(Codec):
    """A codec whose batches are coded on the cluster. Reading is done here."""

    def __init__(self, cluster: Cluster, local: Codec, order: Order, model: Model | None = None) -> None:
        self.cluster = cluster
        self.local = local
        self.order = order
        self.model = model
        # Of the instance, since it stands for any codec.
        self.name, self.id, self.cost = local.name, local.id, local.cost  # type: ignore[misc]

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool | None:
        """See :meth:`Codec.recognises`."""
        return self.local.recognises(data, boundaries)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self.encode_batch([(data, boundaries)], Run())[0]

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self.local.decode(payload, size, boundaries)

    def encode_batch(self, items: Sequence[Item], run: Run) -> list[bytes]:
        """Encode many frames, with all workers."""
        return self.cluster.work(self, _parts(items, int(_PARCEL / self.cost.encode)), run)


def _parts(items: Sequence[Item], limit: int) -> list[list[Item]]:
    """Neighbours of at most ``limit`` bytes together, or one that has more alone."""
    parts: list[list[Item]] = []
    room = 0
    for item in items:
        if not parts or len(item[0]) > room:
            parts.append([])
            room = limit
        parts[-1].append(item)
        room -= len(item[0])
    return parts


def _line(exc: BaseException) -> str:
    """The first line of what it says: dask explains at length."""
    text = str(exc).strip()
    return f"{type(exc).__name__}: {text.splitlines()[0]}" if text else type(exc).__name__
