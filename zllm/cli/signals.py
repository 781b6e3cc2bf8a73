"""Ctrl-C and its kin: prompt, tidy, and seen by the shell as a death by that signal.

The main thread gets an exception, so that everything on its way out is undone in order. It cannot get one while it is
inside a long C call or waits for worker threads; then a second thread, woken by the C-level handler, removes what is
unfinished and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from zllm import partial

FATAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 0.5  # seconds for the tidy way out
_STOP = b"\xff"  # no signal has this number


class Interrupted(KeyboardInterrupt):
    """A fatal signal arrived. ``signum`` says which."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def install() -> Callable[[], None]:
    """Handle the fatal signals. Those that the caller made the process ignore (``nohup``) stay ignored.

    Returns:
        What puts everything back as it was: for programs that go on after :func:`zllm.cli.main.main`.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: handler for number in FATAL if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    stop = _start_watching()
    for number in before:
        signal.signal(number, _raise)

    def undo() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        stop()

    return undo


def _start_watching() -> Callable[[], None]:
    """The second thread. Where none can be started, a signal waits until the main thread is out of the C core.

    Returns what ends it.
    """
    try:
        reader, writer = os.pipe()
    except OSError:  # no more descriptors
        return lambda: None
    try:
        threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True).start()
    except RuntimeError:
        os.close(reader)
        os.close(writer)
        return lambda: None
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def stop() -> None:
        signal.set_wakeup_fd(before)
        os.write(writer, _STOP)
        os.close(writer)

    return stop


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Interrupted(signum)


def _watch(reader: int) -> None:
    while (signum := os.read(reader, 1)[0]) not in FATAL:
        if signum == _STOP[0]:
            os.close(reader)
            return
    time.sleep(GRACE)
    partial.remove_all()
    _default_action_from_any_thread(signum)
    os.kill(os.getpid(), signum)
    time.sleep(GRACE)
    os._exit(128 + signum)


def _default_action_from_any_thread(signum: int) -> None:
    # signal.signal() only works in the main thread, which is busy: that is why we are here.
    try:
        import ctypes

        set_handler = ctypes.CDLL(None).signal
        set_handler.argtypes, set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        set_handler(signum, None)
    except (ImportError, OSError, AttributeError):
        os._exit(128 + signum)


def die(signum: int) -> NoReturn:
    """End the process by ``signum``, as if it had not been caught: the shell sees 128 + ``signum``."""
    partial.remove_all()
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr may be closed
        sys.stderr.flush()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)
