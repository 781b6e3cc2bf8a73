"""What readers and writers can be told, each in one object that is passed on whole: a new option is one field."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from zllm.errors import UsageError
from zllm.format.limits import DEFAULT, MAX_STREAMS, Limits
from zllm.format.notepart import Note

if TYPE_CHECKING:
    from pathlib import Path

    from zllm.archive.cipher import Sealing
    from zllm.codecs.base import Codec
    from zllm.stats import Stats


class Cluster(Protocol):
    """Other machines that code frames (:class:`zllm.integrations.dask_.Cluster`)."""

    @property
    def sections(self) -> int:
        """To have in work at the same time, so that every machine is busy."""

    def wrap(self, codec: Codec) -> Codec:
        """``codec`` with its batches coded over there, to the same bytes; or itself, where that is faster."""


def _demand(name: str, value: object, kind: str, right: bool) -> None:
    if not right:
        raise TypeError(f"{name} must be {kind}, not {value!r}")


def _demand_names(name: str, value: object) -> None:
    """Several strings or paths; one alone would be taken for its letters."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, (str, os.PathLike)) for one in value):
        raise TypeError(f"{name} must be a list of strings or paths")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What readers and writers share.

    Args:
        model: name or file of a language model, or several. For writing, None is the built-in one; for reading, they
            are looked at before those that are installed.
        threads: worker threads; None is one per processor. Never changes a byte of the result.
        progress: called with the number of bytes done since the last call, from any thread.
        stats: collects seconds by stage and bytes by codec.
        device: what computes the model: cpu, cuda, cuda:N or auto. Never changes a byte of the result.
        executor: how: native, torch or auto (:class:`zllm.executors.Choice`).
        passphrase: opens encrypted archives, and encrypts new ones; or what gives it when it is needed, or None.
        identities: secret keys of recipients, or files with some, that open encrypted archives.
    """

    model: str | Path | Sequence[str | Path] | None = None
    threads: int | None = None
    progress: Callable[[int], None] | None = None
    stats: Stats | None = None
    device: str = "auto"
    executor: str = "auto"
    passphrase: str | Callable[[], str | None] | None = field(default=None, repr=False)
    identities: Sequence[str | os.PathLike[str]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Say at once what else would fail somewhere in the middle.

        Raises:
            TypeError: an option of another type than it must have.
        """
        from zllm.stats import Stats

        _demand("threads", self.threads, "a whole number", self.threads is None or isinstance(self.threads, int))
        _demand("progress", self.progress, "a function", self.progress is None or callable(self.progress))
        _demand("stats", self.stats, "a zllm.Stats", self.stats is None or isinstance(self.stats, Stats))
        _demand("device", self.device, "a string", isinstance(self.device, str))
        right = self.passphrase is None or isinstance(self.passphrase, str) or callable(self.passphrase)
        if not right:  # which may be a secret of another type
            raise TypeError("passphrase must be a string, or a function that gives one")
        _demand_names("identities", self.identities)
        for model in self.models:
            _demand("model", model, "a name or a path", model is None or isinstance(model, (str, os.PathLike)))

    @property
    def models(self) -> list[str | Path | None]:
        """All of ``model``; one that is None if there are none."""
        if self.model is None or not isinstance(self.model, (list, tuple)):
            return [cast("str | Path | None", self.model)]
        return list(self.model) or [None]


@dataclass(frozen=True, kw_only=True)
class ReadOptions(Options):
    """How an archive is read.

    Args:
        limits: how much of the machine an archive may take.
        generation: read the archive as it was when this one, counted from 0, was its last; None: as it is.
    """

    limits: Limits = DEFAULT
    generation: int | None = None

    def __post_init__(self) -> None:
        """See :meth:`Options.__post_init__`."""
        super().__post_init__()
        _demand("limits", self.limits, "a zllm.Limits", isinstance(self.limits, Limits))
        right = self.generation is None or isinstance(self.generation, int)
        _demand("generation", self.generation, "a whole number", right)
        if self.generation is not None and self.generation < 0:
            raise UsageError(f"generations count from 0: there is no generation {self.generation}")


@dataclass(frozen=True, kw_only=True)
class WriteOptions(Options):
    """How an archive is made.

    Args:
        level: 1 to 9, see :mod:`zllm.planner.levels`.
        llm: whether a language model may be used at all.
        frame_size: bytes of text in one frame; None leaves it to the level.
        streams: most streams that a model's frame is cut into, 1 to 256; None leaves it to the level. Fewer see
            more of the text before them and decode more slowly.
        embed_model: put the model into the archive, if anything is coded with it: then reading needs nothing else.
        parity: share of the archive's size, up to 1, that parity takes beside it, with which damage can be mended.
        cluster: other machines that code frames. They never change a byte of the result.
        verify: decode what was coded before it is written, and compare: all of it, or nothing if it is False. None: all
            that decodes fast, and of each section and other codec the first frame and another at random.
        notes: what travels with the archive, before everything else (:func:`zllm.archive.carried.decoder`).
        recipients: public keys, or files with some: a new archive is encrypted so that their secret keys open it.
        sealing: encrypt a new archive as another one is (``Archive.sealing``), whatever passphrase or recipients say.
    """

    level: int = 6
    llm: bool = True
    frame_size: int | None = None
    streams: int | None = None
    embed_model: bool = False
    parity: float = 0.0
    cluster: Cluster | None = None
    verify: bool | None = None
    notes: Sequence[Note] = ()
    recipients: Sequence[str | os.PathLike[str]] = ()
    sealing: Sealing | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """See :meth:`Options.__post_init__`."""
        super().__post_init__()
        right = self.frame_size is None or isinstance(self.frame_size, int)
        _demand("verify", self.verify, "True, False or None", self.verify in (None, True, False))
        _demand_names("recipients", self.recipients)
        _demand("streams", self.streams, "a whole number", self.streams is None or isinstance(self.streams, int))
        _demand("frame_size", self.frame_size, "a whole number", right)
        _demand("parity", self.parity, "a number", isinstance(self.parity, (int, float)))
        if self.streams is not None and not 1 <= self.streams <= MAX_STREAMS:
            raise UsageError(f"frames have 1 to {MAX_STREAMS} streams, not {self.streams}")
        if not 0 <= self.parity <= 1:
            raise UsageError(f"parity is a share from 0 to 1, not {self.parity}")
        _demand("notes", self.notes, "notes", all(isinstance(note, Note) for note in self.notes))
        _demand("cluster", self.cluster, "a cluster", self.cluster is None or hasattr(self.cluster, "wrap"))

    @property
    def encrypts(self) -> bool:
        """Whether a new archive is to be encrypted."""
        return self.passphrase is not None or bool(self.recipients) or self.sealing is not None


_Options = TypeVar("_Options", ReadOptions, WriteOptions)
_NAMES = frozenset(field.name for kind in (ReadOptions, WriteOptions) for field in fields(kind))


def names(kind: type[Options]) -> frozenset[str]:
    """The fields of one of the two."""
    return frozenset(field.name for field in fields(kind))


def taken_from(keywords: dict[str, Any], kind: type[_Options]) -> _Options:
    """The options of that kind that are among ``keywords``, out of which those of both kinds are taken: a program may
    open archives for reading and for writing with the same. ``compresslevel`` is tarfile's name for ``level``.

    Raises:
        UsageError: both are there.
    """
    if "compresslevel" in keywords:
        if "level" in keywords:
            raise UsageError("level and compresslevel are the same: give one of them")
        keywords["level"] = keywords.pop("compresslevel")
    taken = {name: keywords.pop(name) for name in _NAMES & keywords.keys()}
    return kind(**{name: value for name, value in taken.items() if name in names(kind)})


def thread_count(threads: int | None) -> int:
    """``threads``, or one per processor that this process may use."""
    if threads is not None:
        return max(1, threads)
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also heeds -X cpu_count
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
