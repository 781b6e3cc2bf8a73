"""Codecs and the model on behalf of writers. Without the built-in model there is a warning, and the other codecs do
the work; a model that was asked for by name is a demand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from zllm.archive.layout import BUILT_IN
from zllm.archive.options import WriteOptions, thread_count
from zllm.codecs import registry
from zllm.codecs.base import Codec, Run
from zllm.errors import KernelError, MissingDependencyError, UsageError, ZllmError
from zllm.executors import Choice
from zllm.format import limits
from zllm.format.section import KNOWN_ANSWER_SIZE, ModelRef
from zllm.planner.levels import get_level
from zllm.planner.planner import Planner

if TYPE_CHECKING:
    from zllm.models.store import Model

MIN_FRAME, MAX_FRAME = 4 << 10, 64 << 20


class Coder:
    """A :class:`Planner` and the models that it uses, if any.

    Raises:
        UsageError: level, frame size, device or executor do not exist.
        MissingModelError, ModelError: the model that ``options`` name is not here, or is none.
        MissingDependencyError: the executor cannot be had.
        KernelError: a kernel was demanded that cannot be had, or what computes the model gives wrong integers.
    """

    def __init__(self, options: WriteOptions, warnings: list[str]) -> None:
        level = get_level(options.level)
        if options.frame_size is not None:
            if not MIN_FRAME <= options.frame_size <= MAX_FRAME:
                raise UsageError(f"frames have {MIN_FRAME} to {MAX_FRAME} bytes, not {options.frame_size}")
            size = options.frame_size
            level = dataclasses.replace(level, text_frame=size, alone_frame=size, solid_frame=size)
        if options.streams is not None:
            level = dataclasses.replace(level, streams=options.streams)
        if options.embed_model and not (options.llm and level.llm):
            raise UsageError(f"level {level.number} uses no model that could be embedded: choose one from 6 on")
        self.level = level
        self.models: list[Model] = []
        """That frames may use; their numbers count from 1."""
        self._choice = Choice(options.device, options.executor)
        self.run = Run(thread_count(options.threads), options.progress, stats=options.stats)
        if options.llm and level.llm:
            codecs = self._codecs(options, warnings)
        else:
            codecs = []
            self._check_models(options)
        self.embed = options.embed_model and bool(self.models)
        cluster = options.cluster
        self.sections = cluster.sections if cluster is not None else 1
        """That are coded at the same time."""
        self.groups = Planner(
            level,
            codecs,
            self.run.threads,
            options.progress,
            self.run.cancelled,
            stats=options.stats,
            wrap=cluster.wrap if cluster is not None else lambda codec: codec,
        )

    def _codecs(self, options: WriteOptions, warnings: list[str]) -> list[Codec]:
        """One for each model."""
        try:
            from zllm.codecs.llm import LlmCodec
            from zllm.models import store

            for name in options.models:
                model = store.resolve(name)
                # A model that does not fit this program, or cannot encode, is noticed here.
                model.native, model.tokenizer  # noqa: B018
                if model.sha256 not in [other.sha256 for other in self.models]:
                    self.models.append(model)
            if len(self.models) > limits.MAX_MODELS:
                raise UsageError(f"an archive has at most {limits.MAX_MODELS} models, not {len(self.models)}")
            codecs = [LlmCodec(model, self.level.streams) for model in self.models]
        except (KernelError, MissingDependencyError):  # neither is the model's fault, and both can be put right
            raise
        except (ZllmError, ImportError) as exc:
            self.models = []
            if options.model is not None:
                raise  # what was asked for by name is a demand: never something else instead
            warnings.append(f"no language model, text is coded without one: {exc}")
            return []
        for codec, model in zip(codecs, self.models, strict=True):
            codec.executor = self._choice.executor_for(model)
        return list(codecs)

    @staticmethod
    def _check_models(options: WriteOptions) -> None:
        """Models that are named, but not used: a slip in a name is an error all the same."""
        if options.model is not None:
            from zllm.models import store

            for name in options.models:
                store.resolve(name)

    def decoder(self, codec_id: int, number: int) -> Codec:
        """What decodes frames of that codec and model; ``number``: the planner's, from 1."""
        from zllm.codecs.llm import LlmCodec

        model = self.models[number - 1]
        codec = registry.get(codec_id, model)
        if isinstance(codec, LlmCodec):
            codec.executor = self._choice.executor_for(model)
        return codec

    def model_ref(self, number: int) -> ModelRef:
        """A model as section headers name it; ``number``: the planner's, from 1."""
        model = self.models[number - 1]
        answer = model.known_answer[:KNOWN_ANSWER_SIZE]
        origin = "" if model.origin == BUILT_IN else model.origin
        return ModelRef(model.sha256, model.name, model.size, model.arithmetic, answer, origin, self.embed)
