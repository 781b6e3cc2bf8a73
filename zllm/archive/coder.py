"""Codecs and the model on behalf of writers. Without the built-in model there is a warning, and the other codecs do
the work; a model that was asked for by name is a demand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from zllm.archive.layout import BUILT_IN
from zllm.archive.options import WriteOptions, thread_count
from zllm.codecs.base import Codec, Run
from zllm.errors import KernelError, MissingDependencyError, UsageError, ZllmError
from zllm.executors import Choice
from zllm.format.section import KNOWN_ANSWER_SIZE, ModelRef
from zllm.planner.levels import get_level
from zllm.planner.planner import Planner

if TYPE_CHECKING:
    from zllm.models.store import Model

MIN_FRAME, MAX_FRAME = 4 << 10, 64 << 20


class Coder:
    """A :class:`Planner` and the model that it uses, if any.

    Raises:
        UsageError: level, frame size, device or executor do not exist.
        MissingModelError, ModelError: the model that ``options`` name is not here, or is none.
        MissingDependencyError: the package that the executor or the model's tokenizer needs is not installed.
        KernelError: a kernel was demanded that cannot be had, or what computes the model gives wrong integers.
    """

    def __init__(self, options: WriteOptions, warnings: list[str]) -> None:
        level = get_level(options.level)
        if options.frame_size is not None:
            if not MIN_FRAME <= options.frame_size <= MAX_FRAME:
                raise UsageError(f"frames have {MIN_FRAME} to {MAX_FRAME} bytes, not {options.frame_size}")
            size = options.frame_size
            level = dataclasses.replace(level, text_frame=size, alone_frame=size, solid_frame=size)
        if options.embed_model and not (options.llm and level.llm):
            raise UsageError(f"level {level.number} uses no model that could be embedded: choose one from 6 on")
        self.level = level
        self.model: Model | None = None
        self._choice = Choice(options.device, options.executor)
        self.run = Run(thread_count(options.threads), options.progress, stats=options.stats)
        if options.llm and level.llm:
            llm = self._llm(options, warnings)
        else:
            llm = None
            self._check_model(options)
        self.embed = options.embed_model and self.model is not None
        cluster = options.cluster
        self.sections = cluster.sections if cluster is not None else 1
        """That are coded at the same time."""
        self.groups = Planner(
            level,
            [llm] if llm is not None else [],
            self.run.threads,
            options.progress,
            self.run.cancelled,
            stats=options.stats,
            wrap=cluster.wrap if cluster is not None else lambda codec: codec,
        )

    def _llm(self, options: WriteOptions, warnings: list[str]) -> Codec | None:
        try:
            from zllm.codecs.llm import LlmCodec
            from zllm.models import store

            self.model = store.resolve(options.model)
            # A model that does not fit this program, or cannot encode, is noticed here.
            self.model.native, self.model.tokenizer  # noqa: B018
            codec = LlmCodec(self.model, self.level.streams)
        except (KernelError, MissingDependencyError):  # neither is the model's fault, and both can be put right
            raise
        except (ZllmError, ImportError) as exc:
            self.model = None
            if options.model is not None:
                raise  # what was asked for by name is a demand: never something else instead
            warnings.append(f"no language model, text is coded without one: {exc}")
            return None
        codec.executor = self._choice.executor_for(self.model)
        return codec

    @staticmethod
    def _check_model(options: WriteOptions) -> None:
        """A model that is named, but not used: a slip in its name is an error all the same."""
        if options.model is not None:
            from zllm.models import store

            store.resolve(options.model)

    def model_ref(self) -> ModelRef | None:
        """The model as section headers name it."""
        if self.model is None:
            return None
        model = self.model
        answer = model.known_answer[:KNOWN_ANSWER_SIZE]
        origin = "" if model.origin == BUILT_IN else model.origin
        return ModelRef(model.sha256, model.name, model.size, model.arithmetic, answer, origin, self.embed)
