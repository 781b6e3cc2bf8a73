"""The file that an archive is written to: under a temporary name beside its place, until it is whole."""

from __future__ import annotations

import os
import stat
from typing import IO

from zllm import partial


class Target:
    """A file for writing that gets its name in :meth:`publish` and vanishes in :meth:`discard`.

    What is not a regular file (``/dev/stdout``, a named pipe) is written directly.

    Raises:
        FileExistsError: it exists and ``replace`` is false.
        OSError: it cannot be written.
    """

    def __init__(self, name: str, *, replace: bool) -> None:
        self._replace = replace
        self._final = os.path.realpath(name)
        self._temporary: str | None = None
        mode = 0o666
        try:
            state = os.stat(self._final)
        except FileNotFoundError:
            state = None
        if state is not None and not replace:
            raise FileExistsError(17, "File exists", name)
        if state is not None and not stat.S_ISREG(state.st_mode):
            self.file: IO[bytes] = open(self._final, "wb")  # noqa: SIM115 - closed by publish or discard
            return
        descriptor, self._temporary = partial.create(self._final, mode)
        if state is not None:
            os.fchmod(descriptor, stat.S_IMODE(state.st_mode))
        self.file = os.fdopen(descriptor, "wb")

    def is_this(self, path: str) -> bool:
        """Whether ``path`` is the file being written, under either name."""
        if self._temporary is None:
            return False
        return os.path.abspath(path) in (os.path.abspath(self._temporary), os.path.abspath(self._final))

    def publish(self) -> None:
        """It is whole: give it its name."""
        self.file.flush()
        if self._temporary is not None:
            os.fsync(self.file.fileno())
        self.file.close()
        if self._temporary is not None:
            partial.publish(self._temporary, self._final, replace=self._replace)

    def discard(self) -> None:
        """It is not whole: remove it."""
        try:
            self.file.close()
        except OSError:  # a full disk; the file goes anyway
            pass
        finally:
            if self._temporary is not None:
                partial.forget(self._temporary)
