"""Draws ratio.csv: bits per byte against speed, encoding and decoding, as ratio.png and ratio.svg.

The Pareto front is drawn through what nothing else is both smaller and faster than.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench.accounts import WAYS, Accounts, load
from bench.common import parser
from zllm.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg

# Two colours of Okabe and Ito's palette (2008), which people tell apart whatever colours they see.
_OURS, _THEIRS = "#0072B2", "#D55E00"
_QUIET, _FRONT, _GRID = "#555555", "#BBBBBB", "#EEEEEE"
_INCHES, _DPI = (11.0, 5.2), 160
_STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _QUIET,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    # The names of parts of an SVG are random without it.
    "svg.hashsalt": "zllm",
}
_TEXT = 9
# In pixels: half of what a marker takes with some air, and how far from it a name may stand.
_MARKER = 16.0
_DISTANCES = (14, 24, 36, 50, 66, 84, 104, 126)
_DIRECTIONS = 16


@dataclass(frozen=True)
class Point:
    """One configuration or rival."""

    name: str
    speed: float
    bits: float

    @property
    def ours(self) -> bool:
        """Whether it is zllm."""
        return self.name.startswith("zllm")

    @property
    def colour(self) -> str:
        """By whose it is."""
        return _OURS if self.ours else _THEIRS


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """With this middle."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def touches(self, other: Box) -> bool:
        """Whether they have anything in common."""
        apart = self.right < other.left or other.right < self.left or self.top < other.bottom or other.top < self.bottom
        return not apart

    def within(self, other: Box) -> bool:
        """Whether ``other`` holds all of it."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest of its own."""
        return math.hypot(max(self.left - x, 0, x - self.right), max(self.bottom - y, 0, y - self.top))


def main(arguments: list[str]) -> int:
    """Draw."""
    given = parser("plot", __doc__ or "", coding=False).parse_args(arguments)
    for path in draw(load(given.results / "ratio.csv"), given.results):
        sys.stdout.write(f"{path}\n")
    return 0


def points(accounts: Accounts, way: str) -> list[Point]:
    """What has been measured on every workload, the fastest first."""
    workloads = accounts.workloads()
    found = [
        Point(name, accounts.speed(workloads, name, way), accounts.bits_per_byte(workloads, name))
        for name in accounts.names()
    ]
    there = [point for point in found if not math.isnan(point.speed) and not math.isnan(point.bits)]
    return sorted(there, key=lambda point: (-point.speed, point.bits))


def front(fastest_first: Sequence[Point]) -> list[Point]:
    """Those that make smaller files than everything faster."""
    found: list[Point] = []
    for point in fastest_first:
        if not found or point.bits < found[-1].bits:
            found.append(point)
    return found


def draw(accounts: Accounts, folder: Path) -> list[Path]:
    """Write the PNG and the SVG; the same accounts give the same SVG.

    Raises:
        UsageError: there is nothing to draw, or matplotlib is not installed.
    """
    panels = {way: points(accounts, way) for way in WAYS}
    if not all(panels.values()):
        raise UsageError("nothing to draw: `python -m bench ratio` first, for sizes and times of every workload")
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("drawing needs matplotlib: pip install 'zllm[bench]'") from None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        both = figure.subplots(1, len(WAYS), sharey=True)
        for axes, (way, found) in zip(both, panels.items(), strict=True):
            _panel(axes, f"{way[:-1]}ing", found)
        figure.get_layout_engine().set(wspace=0.06)
        both[0].set_ylabel(f"bits per byte (geometric mean of {len(accounts.workloads())} workloads)")
        # Labels are laid out in pixels, so everything else has to have its place first.
        canvas.draw()
        figure.set_layout_engine("none")
        for axes, found in zip(both, panels.values(), strict=True):
            _label(axes, canvas.get_renderer(), found)
        paths = [folder / "ratio.png", folder / "ratio.svg"]
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _panel(axes: Axes, title: str, found: Sequence[Point]) -> None:
    axes.set_xscale("log")
    best = front(found)
    axes.plot(
        [point.speed for point in best], [point.bits for point in best],
        color=_FRONT, linewidth=1.5, zorder=1, gid="front",
    )  # fmt: skip
    for point in found:
        axes.plot(
            point.speed, point.bits, "o" if point.ours else "s",
            markersize=6, color=point.colour, zorder=2,
        )  # fmt: skip
    axes.set_title(title, loc="left")
    axes.set_xlabel("MB/s (zllm on two cores, the others on one)")
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.18, y=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")


def _label(axes: Axes, renderer: RendererAgg, found: Sequence[Point]) -> None:
    """A name near each point, where it covers no point, no other name, nor the front, and is inside."""
    from matplotlib.font_manager import FontProperties

    marks = [_pixels(axes, point) for point in found]
    line = [_pixels(axes, point) for point in front(found)]
    taken = [Box.around(x, y, _MARKER, _MARKER) for x, y in marks]
    taken += [Box.around(x, y, 2, 2) for start, end in pairwise(line) for x, y in _along(start, end)]
    inside = axes.get_window_extent()
    frame = Box(inside.x0, inside.y0, inside.x1, inside.y1)
    for point, (x, y) in zip(found, marks, strict=True):
        width, height, _ = renderer.get_text_width_height_descent(point.name, FontProperties(size=_TEXT), False)
        boxes = (Box.around(x + right, y + up, width, height) for right, up in _places(width, height))
        free = (box for box in boxes if box.within(frame) and not any(box.touches(other) for other in taken))
        box = next(free, Box.around(x, y + height, width, height))
        taken.append(box)
        _write(axes, point, (x, y), box)


def _write(axes: Axes, point: Point, mark: tuple[float, float], box: Box) -> None:
    """The name, with a thin line to its point where it stands away from it."""
    scale = 72 / _DPI
    at = ((box.left + box.right) / 2 - mark[0], (box.bottom + box.top) / 2 - mark[1])
    away = box.distance(*mark) > 2 * _MARKER
    axes.annotate(
        point.name, (point.speed, point.bits), (at[0] * scale, at[1] * scale),
        textcoords="offset points", ha="center", va="center", fontsize=_TEXT, color=point.colour, zorder=3,
        arrowprops={"arrowstyle": "-", "color": _QUIET, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4} if away else None,
    )  # fmt: skip


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Where the middle of a name may be beside its point, in pixels: near first, and all around."""
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            right, up = math.cos(angle), math.sin(angle)
            yield right * (distance + width / 2), up * (distance + height / 2)


def _along(start: tuple[float, float], end: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """Points of a line, a few pixels apart."""
    steps = max(1, int(math.dist(start, end) / 3))
    for step in range(steps + 1):
        yield tuple(one + (two - one) * step / steps for one, two in zip(start, end, strict=True))  # type: ignore[misc]


def _pixels(axes: Axes, point: Point) -> tuple[float, float]:
    x, y = axes.transData.transform((point.speed, point.bits))
    return float(x), float(y)
