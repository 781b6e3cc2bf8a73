"""``config.json``, field by field: each has a type and a range, and what does not fit is refused with its name.

Read here and not by transformers, whose releases differ in what they accept and in the defaults of old files.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from zllm.errors import ModelError
from zllm.models.library import line

MAX_JSON = 64 << 20
_SHOWN = 60


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; ``what`` it should be, for messages.

    Raises:
        ModelError: there is none.
        OSError: the file cannot be read.
    """
    if path.stat().st_size > MAX_JSON:
        raise ModelError(f"{path}: not {what}: larger than {MAX_JSON >> 20} MiB")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as exc:
        raise ModelError(f"{path}: not {what}: nested too deeply") from exc
    except ValueError as exc:
        raise ModelError(f"{path}: not {what}: {line(exc)}") from exc
    if not isinstance(found, dict):
        raise ModelError(f"{path}: not {what}: not a JSON object")
    return found


class Config:
    """Fields of ``config.json``, or of an object in it, whose name is ``inside``. A field that is null is missing."""

    def __init__(self, path: Path, raw: dict[str, Any], inside: str = "") -> None:
        self.path, self.raw, self.inside = path, raw, inside

    def _wrong(self, name: str, says: str) -> ModelError:
        return ModelError(f"{self.path}: {self.inside}{name} {says}")

    def _is(self, name: str, value: Any, says: str) -> ModelError:
        shown = repr(value)
        return self._wrong(name, f"is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}, {says}")

    def _find(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            if self.raw.get(name) is not None:
                return name, self.raw[name]
        if default is ...:
            raise self._wrong(names[0], "is missing")
        return names[0], default

    def whole(self, *names: str, low: int, high: int, default: Any = ...) -> int:
        """A whole number in [low, high], by the first of its names that is there. ``default`` may be anything.

        Raises:
            ModelError: it is missing, or something else.
        """
        name, value = self._find(names, default)
        if value is default:
            return value  # type: ignore[no-any-return]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._is(name, value, "not a whole number")
        if not low <= value <= high:
            raise self._is(name, value, f"not {low} to {high}")
        return value

    def number(self, *names: str, low: float, high: float, default: Any = ...) -> float:
        """A number in [low, high]. Raises as :meth:`whole`."""
        name, value = self._find(names, default)
        if value is default:
            return value  # type: ignore[no-any-return]
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._is(name, value, "not a number")
        if not low <= value <= high or not math.isfinite(value):
            raise self._is(name, value, f"not {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false. Raises as :meth:`whole`."""
        value = self._find((name,), default)[1]
        if not isinstance(value, bool):
            raise self._is(name, value, "not true or false")
        return value

    def word(self, *names: str, allowed: tuple[str, ...], default: Any = ...) -> str:
        """One of the ``allowed`` words. Raises as :meth:`whole`."""
        name, value = self._find(names, default)
        if not isinstance(value, str) or value not in allowed:
            raise self._is(name, value, f"which is not supported: only {', '.join(allowed)}")
        return value

    def words(self, name: str) -> list[str]:
        """A list of words, empty if it is missing. Raises as :meth:`whole`."""
        value = self._find((name,), [])[1]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._is(name, value, "not a list of words")
        return value

    def part(self, *names: str) -> Config:
        """An object in this one, without fields if it is missing. Raises as :meth:`whole`."""
        name, value = self._find(names, {})
        if not isinstance(value, dict):
            raise self._is(name, value, "not an object")
        return Config(self.path, value, f"{self.inside}{name}.")

    def token(self, name: str, rows: int, default: int | None) -> int | None:
        """A token's row, of ``rows``; the first of a list; None if it is missing or beyond. Raises as :meth:`whole`."""
        value = self.raw.get(name, default)
        value = value[0] if isinstance(value, list) and value else value
        if value is None or value == []:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._is(name, value, "not the number of a token")
        return value if 0 <= value < rows else None
