"""What runs on a dask worker: a parcel of frames comes in, their payloads go out.

Nothing that shapes a payload is trusted to be the same on two machines: each task compares versions, and what the
model computes, for a worker may join at any time.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from zllm.codecs import registry
from zllm.codecs.base import Codec, Run
from zllm.errors import MissingModelError

if TYPE_CHECKING:
    from zllm.models.store import Model

_MODELS = 2  # that a process keeps in memory, the last ones used


@dataclass(frozen=True)
class Order:
    """What to do with frames. ``settings`` are the codec's own; ``known_answer`` is what the model (its SHA-256)
    computes on the client.
    """

    codec: str
    settings: dict[str, int]
    software: dict[str, str]
    model: bytes = b""
    known_answer: bytes = b""


@dataclass(frozen=True)
class Parcel:
    """One task: frames, each with its boundaries, to code with so many threads."""

    order: Order
    items: list[tuple[bytes, tuple[int, ...]]]
    threads: int


@dataclass(frozen=True)
class Reply:
    """What came of a parcel. ``problem``: why there are no payloads; ``needs_model``: it is to be sent again, with the
    model.
    """

    worker: str
    payloads: list[bytes]
    seconds: float = 0.0
    problem: str = ""
    needs_model: bool = False


class _RefusedError(Exception):
    """This worker would not make the same bytes."""


class _NoModelError(Exception):
    """The model is neither installed nor was it sent along."""


def software(codec: str = "") -> dict[str, str]:
    """Versions of all that shapes a payload. Archives are equal, byte for byte, only where all of these are.

    ``codec``: of that one, too, if it is of another package.
    """
    import zstandard

    from zllm._native import ARITHMETIC_VERSION
    from zllm.version import VERSION

    package = registry.package_of(codec) if codec else ""
    return {
        "zllm": VERSION,
        "arithmetic version": str(ARITHMETIC_VERSION),
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        "tokenizers": _version("tokenizers"),
        **({f"the codec {codec} of": package} if package else {}),
    }


def _version(package: str) -> str:
    """Its version, or "none" where it is not installed: packing without a model needs no tokenizers."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """What a worker has otherwise than the client, in words; empty if nothing."""
    for name, version in ours.items():
        if theirs.get(name) != version:
            return f"it has {name} {theirs.get(name)}, this machine has {version}: install the same versions on both"
    return ""


def has_model(sha256: bytes) -> bool:
    """Whether this process can find the model without help."""
    from zllm.models import store

    try:
        store.find(sha256)
    except MissingModelError:
        return False
    return True


def keep(data: bytes) -> bytes:
    """The task that a model file is: as its result it travels to each worker that needs it, once."""
    return data


def code(parcel: bytes, model_file: bytes | None = None) -> Reply:
    """The task: a pickled :class:`Parcel` to payloads."""
    from distributed import get_worker

    worker = get_worker()
    name = str(worker.address)
    began = time.perf_counter()
    try:
        work: Parcel = pickle.loads(parcel)
        codec = _codec(work.order, model_file)
        # As many tasks as the worker has threads may run here at once; the client gives each its share.
        payloads = codec.encode_batch(work.items, Run(min(work.threads, worker.state.nthreads)))
    except _NoModelError:
        return Reply(name, [], needs_model=True)
    except _RefusedError as exc:
        return Reply(name, [], problem=str(exc))
    except Exception as exc:  # whatever it is, the user is to hear of it with the worker's name
        return Reply(name, [], problem=f"{type(exc).__name__}: {exc}")
    return Reply(name, payloads, time.perf_counter() - began)


def _codec(order: Order, model_file: bytes | None) -> Codec:
    if problem := difference(software(order.codec), order.software):
        raise _RefusedError(problem)
    return registry.by_name(order.codec, _model(order, model_file) if order.model else None, order.settings)


_lock = threading.Lock()
_loaded: OrderedDict[bytes, Model] = OrderedDict()


def _model(order: Order, model_file: bytes | None) -> Model:
    """The model, loaded and checked once; tasks that come meanwhile wait."""
    with _lock:
        model = _loaded.get(order.model)
        if model is None:
            model = _find(order.model, model_file)
            _loaded[order.model] = model
            while len(_loaded) > _MODELS:
                _loaded.popitem(last=False)
        _loaded.move_to_end(order.model)
        if model.known_answer != order.known_answer:
            raise _RefusedError(f"model {model.name!r} computes other numbers there: see zllm info --machine on it")
        return model


def _find(sha256: bytes, model_file: bytes | None) -> Model:
    from zllm.models import store, zlm

    try:
        return store.find(sha256)
    except MissingModelError:
        if model_file is None:
            raise _NoModelError from None
    if hashlib.sha256(model_file).digest() != sha256:
        raise _RefusedError("the model that it was sent is another one")
    return store.Model(Path("<model sent by the client>"), zlm.parse(model_file))
