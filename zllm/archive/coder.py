"""Codecs and the model on behalf of writers: what is missing is a warning, and zstd does the work."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from zllm.archive.options import WriteOptions, thread_count
from zllm.chooser.group import GroupCoder
from zllm.chooser.levels import get_level
from zllm.codecs.base import Codec, Run
from zllm.container.section import ModelRef
from zllm.errors import UsageError, ZllmError

if TYPE_CHECKING:
    from zllm.models.store import Model

MIN_FRAME, MAX_FRAME = 4 << 10, 64 << 20


class Coder:
    """A :class:`GroupCoder` and the model that it uses, if any.

    Raises:
        UsageError: level or frame size do not exist.
    """

    def __init__(self, options: WriteOptions, warnings: list[str]) -> None:
        level = get_level(options.level)
        if options.frame_size is not None:
            if not MIN_FRAME <= options.frame_size <= MAX_FRAME:
                raise UsageError(f"frames have {MIN_FRAME} to {MAX_FRAME} bytes, not {options.frame_size}")
            level = dataclasses.replace(level, text_frame=options.frame_size, solid_frame=options.frame_size)
        if options.embed_model and not (options.llm and level.llm):
            raise UsageError(f"level {level.number} uses no model that could be embedded: choose one from 6 on")
        self.level = level
        self.model: Model | None = None
        self.run = Run(thread_count(options.threads), options.progress, stats=options.stats)
        llm = self._llm(options, warnings) if options.llm and level.llm else None
        self.embed = options.embed_model and self.model is not None
        self.groups = GroupCoder(
            level, llm, self.run.threads, options.progress, self.run.cancelled, stats=options.stats
        )

    def _llm(self, options: WriteOptions, warnings: list[str]) -> Codec | None:
        try:
            from zllm.codecs.llm import LlmCodec
            from zllm.models import store

            self.model = store.resolve(options.model)
            # A model that does not fit this program, or cannot encode, is noticed here.
            self.model.native, self.model.tokenizer  # noqa: B018
            return LlmCodec(self.model, self.level.streams)
        except (ZllmError, ImportError) as exc:
            self.model = None
            warnings.append(f"no language model, text is coded without one: {exc}")
            return None

    def model_ref(self) -> ModelRef | None:
        """The model as section headers name it."""
        if self.model is None:
            return None
        return ModelRef(self.model.sha256, self.model.name, self.model.size, self.model.arithmetic)

    def manifest_entry(self, offset: int | None) -> dict[str, Any]:
        """The model as the manifest names it. ``offset``: where its block is, if it is embedded."""
        if self.model is None:
            return {}
        return {
            "name": self.model.name,
            "sha256": self.model.sha256.hex(),
            # Eight bytes of these say what is wrong with a model whose whole hash is beside them.
            "tokenizer_sha256": self.model.tokenizer_sha256[:8].hex(),
            "origin": self.model.origin,
            "size": self.model.size,
            "arithmetic": self.model.arithmetic,
            "embedded": offset is not None,
            **({} if offset is None else {"offset": offset}),
            "known_answer": self.model.known_answer[:8].hex(),
        }
