"""Codecs and models on behalf of writers and readers. Whatever is missing is a warning here, an exact error there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zllm.archive.options import WriteOptions, thread_count
from zllm.chooser.group import GroupCoder
from zllm.chooser.levels import get_level
from zllm.codecs import registry
from zllm.codecs.base import Codec, Run
from zllm.container.section import ModelRef
from zllm.errors import MissingCodecError, MissingModelError, UnsupportedVersionError, UsageError, ZllmError

if TYPE_CHECKING:
    from zllm.models.store import Model
    from zllm.stats import Stats

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
        self.level = level
        self.model: Model | None = None
        self.run = Run(thread_count(options.threads), options.progress, stats=options.stats)
        llm = self._llm(options, warnings) if options.llm and level.llm else None
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
            return LlmCodec(self.model)
        except (ZllmError, ImportError) as exc:
            self.model = None
            warnings.append(f"no language model, text is coded with zstd: {exc}")
            return None

    def model_ref(self) -> ModelRef | None:
        """The model as section headers name it."""
        if self.model is None:
            return None
        return ModelRef(self.model.sha256, self.model.name, self.model.size, self.model.arithmetic)

    def manifest_entry(self) -> dict[str, Any]:
        """The model as the manifest names it."""
        if self.model is None:
            return {}
        return {
            "name": self.model.name,
            "sha256": self.model.sha256.hex(),
            "tokenizer_sha256": self.model.tokenizer_sha256.hex(),
            "origin": self.model.origin,
            "size": self.model.size,
            "arithmetic": self.model.arithmetic,
            "embedded": False,
            "known_answer": self.model.known_answer.hex(),
        }


class Decoders:
    """Decoders by codec id and model, each made once.

    ``model`` is a name or file that the user gave; ``progress`` is called with bytes decoded since the last call, from
    any thread.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
        stats: Stats | None = None,
    ) -> None:
        self.model = model
        self.run = Run(thread_count(threads), progress, stats=stats)
        self.known_answers: dict[bytes, str] = {}
        """From the manifest, by the SHA-256 of the model: checked before a model decodes anything."""
        self._made: dict[tuple[int, bytes], Codec | ZllmError] = {}

    def trust(self, manifest: dict[str, Any]) -> None:
        """Take the known answers from a manifest."""
        for entry in manifest.get("models", []):
            self.known_answers[bytes.fromhex(entry["sha256"])] = str(entry.get("known_answer", ""))

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
            raise made
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
        return registry.get(codec_id, self._find(ref))

    def _find(self, ref: ModelRef) -> Model:
        from zllm.models import store

        model = store.find(ref.sha256, ref.name, ref.size, self.model)
        if model.arithmetic != ref.arithmetic:
            raise UnsupportedVersionError(
                f"the archive was made with arithmetic version {ref.arithmetic}, this program has {model.arithmetic}"
            )
        expected = self.known_answers.get(ref.sha256)
        if expected is not None and model.known_answer.hex() != expected:
            raise MissingModelError(ref.name, ref.sha256.hex(), ref.size, why="here, but computes other numbers")
        return model
