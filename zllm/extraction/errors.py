"""What can go wrong with one member while it is written to disk."""

from __future__ import annotations

from zllm.errors import ZllmError


class NotExtractedError(ZllmError):
    """A member cannot be extracted as it is; the others can. ``member``: its name."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member or repr(member)}: {reason}")
        self.member = member


class DeviceError(NotExtractedError):
    """A device, which is restored only on demand."""

    def __init__(self, member: str) -> None:
        super().__init__(member, "a device: not restored unless asked for")
