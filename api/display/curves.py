"""Curves as inline SVG, whose colours follow the page's light or dark theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 42
COLOURS = 6
DECADES = 4


@dataclass(frozen=True)
class Series:
    """One curve, its points, or with `low` and `high` (M,) a band about it.

    Points (x, y), each (M,), are left out if they are not finite, or not positive on a logarithmic axis.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    dots: bool = False
    low: ArrayLike | None = None
    high: ArrayLike | None = None


@dataclass(frozen=True)
class _Axis:
    """A range of values, and the pixels of its two ends."""

    lowest: float
    highest: float
    log: bool
    pixels: tuple[float, float]

    @classmethod
    def around(cls, values: Sequence[ArrayLike], log: bool, pixels: tuple[float, float]) -> _Axis:
        v = np.concatenate([np.asarray(part, dtype=float) for part in values])
        usable = v[np.isfinite(v) & ((v > 0) | (not log))]
        if usable.size == 0:
            return cls(0.1 if log else 0.0, 1.0, log, pixels)
        lowest, highest = float(usable.min()), float(usable.max())
        if lowest == highest:
            lowest, highest = (lowest / 2, highest * 2) if log else (lowest - 0.5, highest + 0.5)
        return cls(max(lowest, highest / 10**DECADES) if log else lowest, highest, log, pixels)

    def place(self, values: ArrayLike) -> NDArray[Any]:
        """Pixels of the values; NaN for those off a logarithmic axis."""
        v, ends = np.asarray(values, dtype=float), np.array([self.lowest, self.highest])
        if self.log:
            v, ends = np.log(np.where(v >= self.lowest, v, np.nan)), np.log(ends)
        return np.asarray(self.pixels[0] + (v - ends[0]) / (ends[1] - ends[0]) * (self.pixels[1] - self.pixels[0]))

    def ticks(self) -> NDArray[Any]:
        """Round values within the range: multiples of 1, 2 or 5 times a power of ten."""
        if not self.log:
            step = 10.0 ** np.floor(np.log10((self.highest - self.lowest) / 3))
            step *= next(m for m in (1, 2, 5, 10) if (self.highest - self.lowest) / (step * m) <= 5)
            first, last = np.ceil(self.lowest / step - 1e-9), np.floor(self.highest / step + 1e-9)
            return np.asarray(step * (np.arange(first, last + 1) + 0.0))
        powers = 10.0 ** np.arange(np.floor(np.log10(self.lowest)), np.log10(self.highest) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            values = np.outer(powers, digits).ravel()
            inside = values[(values >= self.lowest) & (values <= self.highest)]
            if inside.size >= 3:
                break
        return inside[:: -(-inside.size // 8)] if inside.size else np.array([self.lowest, self.highest])


def line_chart(series: Sequence[Series], x_label: str, y_label: str, log: bool = False) -> str:
    """A chart with a legend, as an HTML ``figure`` whose colours are the classes ``c0`` … ``c5`` of the page's style.

    Colours repeat after the sixth series. A logarithmic chart shows the upper four decades of y.
    """
    across = _Axis.around([s.x for s in series], False, (LEFT, WIDTH - RIGHT))
    edges = [edge for s in series for edge in (s.y, s.low, s.high) if edge is not None]
    upwards = _Axis.around(edges, log, (HEIGHT - BOTTOM, TOP))
    marks = [_marks(s, i % COLOURS, across, upwards) for i, s in enumerate(series)]
    legend = "".join(f'<span class="c{i % COLOURS}">{escape(s.name)}</span>' for i, s in enumerate(series))
    return (
        f'<figure class="chart"><figcaption><b>{escape(y_label)}</b> {legend}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)} by {escape(x_label)}">'
        f"{_grid(across, upwards)}{''.join(marks)}"
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text></svg></figure>'
    )


def _grid(across: _Axis, upwards: _Axis) -> str:
    rows, columns = ([(value, axis.place(value)) for value in axis.ticks()] for axis in (upwards, across))
    lines = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
             f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{value:.4g}</text>' for value, y in rows]
    base = HEIGHT - BOTTOM + 17
    return "".join([*lines, *(f'<text class="tick" x="{x:.1f}" y="{base}">{value:.4g}</text>' for value, x in columns)])


def _marks(series: Series, colour: int, across: _Axis, upwards: _Axis) -> str:
    x, y = across.place(series.x), upwards.place(series.y)
    if series.dots:
        return "".join(f'<circle class="c{colour}" cx="{a:.1f}" cy="{b:.1f}" r="4"/>' for a, b in _finite(x, y))
    line = f'<polyline class="c{colour}" points="{_corners(x, y)}"/>'
    if series.low is None or series.high is None:
        return line
    low, high = upwards.place(series.low), upwards.place(series.high)
    outline = _corners(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]]))
    return f'<polygon class="c{colour}" points="{outline}"/>{line}'


def _finite(x: NDArray[Any], y: NDArray[Any]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(x, y, strict=True) if np.isfinite(a + b)]


def _corners(x: NDArray[Any], y: NDArray[Any]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in _finite(x, y))
