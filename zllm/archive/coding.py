"""Codecs and models on behalf of readers: what is missing is an error that says exactly what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from zllm.archive.options import ReadOptions, thread_count
from zllm.codecs import registry
from zllm.codecs.base import Codec, Run
from zllm.errors import DamagedError, MissingCodecError, MissingModelError, UnsupportedVersionError, ZllmError, renewed
from zllm.executors import Choice
from zllm.format.section import ModelRef

if TYPE_CHECKING:
    from zllm.archive.embedded import Embedded
    from zllm.models.store import Model


class Decoders:
    """Decoders by codec id and model, each made once.

    Raises:
        UsageError: device or executor do not exist.
        MissingDependencyError: the executor needs a package that is not installed.
    """

    def __init__(self, options: ReadOptions | None = None) -> None:
        options = options or ReadOptions()
        self._given = options.models
        self._choice = Choice(options.device, options.executor)
        self.run = Run(thread_count(options.threads), options.progress, stats=options.stats)
        self.embedded: dict[bytes, Embedded] = {}
        """Models that are inside the archive, by their SHA-256."""
        self.warn: Callable[[str], None] = lambda _: None
        """Told what was wrong without harm."""
        self._made: dict[tuple[int, bytes], Codec | ZllmError] = {}

    def get(self, codec_id: int, ref: ModelRef | None) -> Codec:
        """The decoder for frames of that codec and model.

        Raises:
            MissingCodecError: no installed package provides it.
            MissingModelError: the model is not here, or does not compute what it computed when the archive was made.
            UnsupportedVersionError: the archive was made with another version of the arithmetic.
        """
        key = codec_id, ref.sha256 if ref else b""
        if key not in self._made:
            try:
                self._made[key] = self._make(codec_id, ref)
            except ZllmError as exc:
                self._made[key] = exc
        made = self._made[key]
        if isinstance(made, ZllmError):
            raise renewed(made)
        return made

    def _make(self, codec_id: int, ref: ModelRef | None) -> Codec:
        try:
            codec = registry.codec_class(codec_id)
        except ImportError as exc:
            raise MissingCodecError(codec_id) from exc
        if not codec.needs_model:
            return registry.get(codec_id)
        if ref is None:
            raise UnsupportedVersionError(f"frames of the codec {codec.name!r} do not say which model they need")
        from zllm.codecs.llm import LlmCodec

        model = self._find(ref)
        made = registry.get(codec_id, model)
        if isinstance(made, LlmCodec):
            made.executor = self._choice.executor_for(model)
        return made

    def installed(self, ref: ModelRef) -> Model:
        """The model, one of those that the user gave or one that is installed.

        Raises:
            MissingModelError: it is not here.
            ModelError: a file that the user gave is not a valid model.
        """
        from zllm.models import store

        *others, last = self._given
        for name in others:
            with contextlib.suppress(MissingModelError):
                return store.find(ref.sha256, ref.name, ref.size, name)
        return store.find(ref.sha256, ref.name, ref.size, last)

    def _find(self, ref: ModelRef) -> Model:
        model = self._embedded(ref) or self.installed(ref)
        if model.arithmetic != ref.arithmetic:
            raise UnsupportedVersionError(
                f"the archive was made with arithmetic version {ref.arithmetic}, this program has {model.arithmetic}"
            )
        if model.known_answer[: len(ref.known_answer)] != ref.known_answer:
            raise MissingModelError(ref.name, ref.sha256.hex(), ref.size, why="here, but computes other numbers")
        return model

    def _embedded(self, ref: ModelRef) -> Model | None:
        """The model from the archive, or, if that is damaged, another copy that is here."""
        from zllm.archive.embedded import CORRECTED

        found = self.embedded.get(ref.sha256)
        if found is None:
            return None
        try:
            model = found.load(ref)
            if found.corrected:
                self.warn(CORRECTED)
            return model
        except DamagedError as exc:
            try:
                model = self.installed(ref)
            except ZllmError:
                raise exc from None
            self.warn(f"the embedded model {ref.name!r} is damaged: the installed one was used, nothing is lost")
            return model
