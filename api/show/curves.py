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
    """One curve.

    Attributes
    ----------
    name : str
        For the legend.
    x, y : array_like (M,)
        Points that are not finite, or not positive on a logarithmic axis, are left out.
    dots : bool
        Draw the points rather than a line through them.
    low, high : array_like (M,), optional
        Edges of a band about the curve.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    dots: bool = False
    low: ArrayLike | None = None
    high: ArrayLike | None = None


@dataclass(frozen=True)
class _Axis:
    lowest: float
    highest: float
    log: bool

    @classmethod
    def around(cls, values: NDArray[Any], log: bool) -> _Axis:
        usable = values[np.isfinite(values) & ((values > 0) | (not log))]
        if usable.size == 0:
            return cls(0.1 if log else 0.0, 1.0, log)
        lowest, highest = float(usable.min()), float(usable.max())
        if lowest == highest:
            lowest, highest = (lowest / 2, highest * 2) if log else (lowest - 0.5, highest + 0.5)
        return cls(max(lowest, highest / 10**DECADES) if log else lowest, highest, log)

    def place(self, values: ArrayLike) -> NDArray[Any]:
        """Positions in [0, 1]; NaN for what cannot be shown."""
        v = np.asarray(values, dtype=float)
        if not self.log:
            return (v - self.lowest) / (self.highest - self.lowest)
        v = np.log(np.where(v >= self.lowest, v, np.nan))
        return np.asarray((v - np.log(self.lowest)) / (np.log(self.highest) - np.log(self.lowest)))

    def ticks(self) -> list[float]:
        if not self.log:
            step = 10.0 ** np.floor(np.log10((self.highest - self.lowest) / 3))
            step *= next(m for m in (1, 2, 5, 10) if (self.highest - self.lowest) / (step * m) <= 5)
            return [float(n * step) for n in range(*_whole(self.lowest / step, self.highest / step))]
        powers = range(*_whole(np.log10(self.lowest) - 1, np.log10(self.highest) + 1))
        for steps in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            inside = [m * 10.0**p for p in powers for m in steps if self.lowest <= m * 10.0**p <= self.highest]
            if len(inside) >= 3:
                break
        return inside[:: -(-len(inside) // 8)] if inside else [self.lowest, self.highest]


def _whole(lowest: float, highest: float) -> tuple[int, int]:
    return int(np.ceil(lowest - 1e-9)), int(np.floor(highest + 1e-9)) + 1


def line_chart(series: Sequence[Series], x_label: str, y_label: str, log: bool = False) -> str:
    """A chart with a legend, as an HTML figure.

    Parameters
    ----------
    series : sequence of Series
        In the order of the legend; colours repeat after the sixth.
    x_label, y_label : str
    log : bool
        Logarithmic values, of which the upper four decades are shown.

    Returns
    -------
    str
        A ``figure`` element; its colours are the classes ``c0`` … ``c5`` of the page's style.
    """
    across = _Axis.around(np.concatenate([np.asarray(s.x, dtype=float) for s in series]), False)
    edges = [e for s in series for e in (s.y, s.low, s.high) if e is not None]
    upwards = _Axis.around(np.concatenate([np.asarray(e, dtype=float) for e in edges]), log)
    marks = [_marks(s, i % COLOURS, across, upwards) for i, s in enumerate(series)]
    legend = "".join(f'<span class="c{i % COLOURS}">{escape(s.name)}</span>' for i, s in enumerate(series))
    return (
        f'<figure class="chart"><figcaption><b>{escape(y_label)}</b> {legend}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)} by {escape(x_label)}">'
        f"{_grid(across, upwards)}{''.join(marks)}"
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text></svg></figure>'
    )


def _grid(across: _Axis, upwards: _Axis) -> str:
    parts = []
    for value in upwards.ticks():
        y = _vertical(upwards.place(value))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{value:.4g}</text>')
    for value in across.ticks():
        x = float(_horizontal(across.place(value)))
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}">{value:.4g}</text>')
    return "".join(parts)


def _marks(series: Series, colour: int, across: _Axis, upwards: _Axis) -> str:
    x, y = _horizontal(across.place(series.x)), _vertical(upwards.place(series.y))
    shown = np.isfinite(x) & np.isfinite(y)
    if series.dots:
        places = zip(x[shown], y[shown], strict=True)
        return "".join(f'<circle class="c{colour}" cx="{a:.1f}" cy="{b:.1f}" r="4"/>' for a, b in places)
    band = ""
    if series.low is not None and series.high is not None:
        low, high = (_vertical(upwards.place(edge)) for edge in (series.low, series.high))
        outline = [*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)]
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline if np.isfinite(a + b))
        band = f'<polygon class="c{colour}" points="{corners}"/>'
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[shown], y[shown], strict=True))
    return f'{band}<polyline class="c{colour}" points="{points}"/>'


def _horizontal(place: NDArray[Any]) -> NDArray[Any]:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _vertical(place: NDArray[Any]) -> Any:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
