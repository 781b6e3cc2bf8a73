"""What computes a model elsewhere than the C core, as the codec sees it. It gives the same integers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from zllm._native.steps import Distributions, Memory


class Decoding(Protocol):
    """Lanes, each of which is fed a stream's tokens one by one."""

    def step(self, tokens: array[int]) -> Distributions:
        """Feed each lane its token: the distributions of what follows. They hold until the next step."""

    def restart(self, lanes: Sequence[int]) -> None:
        """These lanes have new streams."""

    def keep(self, lanes: Sequence[int]) -> None:
        """Only these lanes go on, with the numbers 0, 1, ..."""


class Executor(Protocol):
    """A model on a device. Nothing it is asked for at the same time changes an integer."""

    device: str
    """As it is named to people."""
    lanes: int
    """Streams that are coded at once, at most, unless a frame alone has more."""

    def decoding(self, lanes: int) -> Decoding:
        """Lanes to decode with."""

    def encoding(self, frames: Sequence[Sequence[array[int]]], start: int) -> Iterator[list[Memory]]:
        """Frames of streams of known tokens (with :data:`zllm._native.GIVEN` set on those that are not coded), side by
        side: piece by piece, for each frame the probabilities (uint32) of the decisions on its next tokens' paths, in
        the frame's order."""
