"""Times that are given in words."""

from __future__ import annotations

import argparse
import datetime
import functools
import math
import os
import re

from zllm.archive import growing
from zllm.extraction.attributes import nanoseconds

_SHORT = re.compile(r"\d{4}-\d\d?-\d\d?")


def newer(text: str) -> int:
    """The time that ``--newer`` names, in nanoseconds: of a file, if there is a slash in its name, else a date, in the
    time zone here unless it names one, or seconds behind an ``@``.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if "/" in text:
        try:
            return os.stat(text).st_mtime_ns
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"{text}: {getattr(error, 'strerror', None) or error}") from None
    found = nanoseconds(text[1:]) if text.startswith("@") else _date(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date such as 2026-11-30 or 2026-11-30T12:00; a file's name needs a slash (./{text})"
        )
    return found


@functools.cache
def _latest() -> int | None:
    told = growing.epoch()
    return None if told is None else told * 10**9


def stored(nanoseconds: int) -> int:
    """The time that is stored for what was changed at ``nanoseconds``: ``SOURCE_DATE_EPOCH`` at the latest, as with
    GNU tar's ``--clamp-mtime``.

    Raises:
        UsageError: the variable is not a number of seconds.
    """
    latest = _latest()
    return nanoseconds if latest is None else min(nanoseconds, latest)


def _date(text: str) -> int | None:
    if not _SHORT.match(text):
        return None
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        seconds = found.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return math.floor(seconds) * 10**9 + found.microsecond * 1000
