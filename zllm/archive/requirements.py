"""What an archive needs to be read, from its maps and headers alone: nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zllm.errors import DamagedError, ZllmError
from zllm.format.section import ModelRef

if TYPE_CHECKING:
    from zllm.archive.view import TarView


@dataclass
class Requirements:
    """``frames`` counts frames by codec; ``adaptive`` are the arithmetic versions of frames without a model (``cm``).

    ``models`` are those that frames need, by their SHA-256. ``problems``: what of the archive cannot be read.
    """

    frames: dict[int, int] = field(default_factory=dict)
    models: dict[bytes, ModelRef] = field(default_factory=dict)
    adaptive: set[int] = field(default_factory=set)
    problems: list[ZllmError] = field(default_factory=list)


def of(view: TarView) -> Requirements:
    """The requirements of a whole archive. A pipe is read to its end."""
    from zllm.codecs.cm import CmCodec

    found = Requirements()
    for section in view.sections():
        if isinstance(section, DamagedError):  # it is the view's problem, too
            continue
        for number, frame in enumerate(section.layout.frames):
            found.frames[frame.codec] = found.frames.get(frame.codec, 0) + 1
            if frame.codec == CmCodec.id and frame.payload_size and not found.adaptive:
                try:
                    found.adaptive.update(section.first_byte(number))
                except DamagedError as exc:
                    found.problems.append(exc)
            try:
                ref = section.model_of(number)
            except DamagedError as exc:
                found.problems.append(exc)
                break
            if ref is not None:
                found.models[ref.sha256] = ref
    if view.problem is not None:
        found.problems.append(view.problem)
    return found
