"""A run as HTML: what is seen of it, while it goes on and in the end."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from unfeature.display.curves import Series, line_chart
from unfeature.display.report import render

from .run import Column, Run

NOTE = ("The curve is the error that the search minimises, of a smooth surrogate where the feature has hard bins; the "
        "number is measured with the feature itself.")


def drawn(run: Run, token: str = "") -> str:
    """The page's part about a run; the token is that of its archive."""
    finished = run.finished  # before its columns are looked at, which do not change afterwards
    columns = list(run.columns)
    kinds = list(dict.fromkeys(kind for column in columns for kind, _ in column.maps))
    return render("run.html", package="unfeature.app", run=run, finished=finished, note=NOTE,
                  problem=run.problem and with_capital(run.problem), chart=_chart(columns), kinds=kinds,
                  columns=[_facts(column, run) for column in columns], scrub=any(c.frames for c in columns),
                  archive=token if finished and run.has_results else "")


def _facts(column: Column, run: Run) -> dict[str, Any]:
    """What the template says of a column."""
    feature, _, method = column.setting.label.partition(" · ")
    result = column.result
    numbers: list[tuple[str, str]] = []
    if result is not None:
        correlation = (result.provenance.get("photograph") or {}).get("correlation")
        numbers = [("relative error", f"{result.error:.3f}"), ("seconds", f"{result.provenance['seconds']:.1f}")]
        numbers += [] if correlation is None else [("correlation with the photograph", f"{correlation:.3f}")]
    elif column.curve and math.isfinite(column.curve[-1]):
        numbers = [("error so far", f"{column.curve[-1]:.3f}")]
    stopped = result.status if result is not None and result.interrupted else ""
    return {"feature": feature, "method": method, "numbers": numbers, "picture": column.picture,
            "maps": dict(column.maps), "frames": column.frames, "state": column.state, "step": column.step,
            "steps": column.steps, "done": column.step / column.steps if column.steps else 0.0,
            "problems": [with_capital(said) for said in (column.problem, stopped) if said],
            "command": column.setting.command(run.source) if result is not None else ""}


def _chart(columns: list[Column]) -> str:
    """The error curves; a method without a way is a level line. Nothing if there is no curve."""
    longest = max(max(len(column.curve), column.steps) for column in columns)
    if longest < 2:
        return ""
    series = []
    for i, column in enumerate(columns):
        values = np.full(longest, np.nan if column.curve or column.result is None else column.result.error)
        values[: len(column.curve)] = column.curve
        series.append(Series(f"{i + 1}", np.arange(1, longest + 1), values))
    return line_chart(series, "gradient evaluations", "relative error", log=True)


def with_capital(text: str) -> str:
    """A sentence from its words, with a full stop; the name of a file at its beginning stays as it is."""
    first = text.split(" ", 1)[0]
    return f"{text[:1] if '.' in first else text[:1].upper()}{text[1:].rstrip('.')}."


def sentence(text: str, alarm: bool = True) -> str:
    """A sentence alone, by default about a mistake."""
    kind = 'class="alarm" role="alert"' if alarm else 'class="soft"'
    return f'<div class="uf" data-finished="true"><p {kind}>{escape(with_capital(text))}</p></div>'
