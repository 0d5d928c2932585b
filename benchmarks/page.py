"""From rows to a page: tables of means with their intervals and of every photograph, and the pictures they link to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .measures import deviation, interval
from .tasks import Row, rounded


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name in the rows, its heading, its decimals, and a factor for display."""

    name: str
    title: str
    digits: int = 3
    factor: float = 1.0


ERROR = Metric("error", "relative error", 4)
CENTRED = Metric("error_centred", "centred error", 4)
EUCLIDEAN = Metric("euclidean", "euclidean error, %", 2, 100)
SQUARED = Metric("squared", "squared error, %", 2, 100)
CORRELATION = Metric("correlation", "correlation")
SSIM = Metric("ssim", "SSIM")
PSNR = Metric("psnr", "PSNR, dB", 2)
NATURALNESS = Metric("naturalness", "naturalness")
WITHIN = Metric("within_two", "within ± 2 σ, %", 1, 100)
SECONDS = Metric("seconds", "seconds", 2)
PROCESSOR = Metric("cpu_seconds", "processor seconds", 2)
EVALUATIONS = Metric("evaluations", "gradient evaluations", 0)
ERRORS = ERROR, CENTRED, EUCLIDEAN, SQUARED
LIKENESS, EFFORT = (CORRELATION, SSIM, PSNR), (SECONDS, PROCESSOR, EVALUATIONS)


Metrics = tuple[Metric, ...]
INTERVAL, DEVIATION = "1.96 standard errors", "standard deviation"
"""What stands after ±."""
MARGINS = {INTERVAL: interval, DEVIATION: deviation}


class Published(NamedTuple):
    """Published figures: their measure, where they stand, and each by the values of the settings of its line."""

    metric: Metric
    source: str
    figures: Mapping[tuple[Any, ...], str]


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, the number to sort by, and the target of its link."""

    text: str
    value: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a page; `name` is also that of its CSV file."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """Lines of pictures; each is a finished task, the name of one of its pictures, and a caption."""

    name: str
    title: str
    rows: tuple[tuple[tuple[Row, str, str], ...], ...]


@dataclass(frozen=True)
class Page:
    """The page of a run, and the rows that it is made of."""

    title: str
    lead: str
    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    charts: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()


def text(value: Any) -> Cell:
    """A cell of text or of a setting; numbers sort as such."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(f"{value:g}", value)
    return Cell("–" if value is None else str(value))


def number(value: float | None, metric: Metric, link: str = "", margin: float = float("nan")) -> Cell:
    """A cell of a number, with ± its margin if that is known; a dash for what was not measured."""
    if value is None or not np.isfinite(value):
        return Cell("∞" if value == np.inf else "–", None, link)
    shown = f"{value * metric.factor:.{metric.digits}f}"
    if np.isfinite(margin):
        shown += f" ± {margin * metric.factor:.{metric.digits}f}"
    return Cell(shown, rounded(value * metric.factor), link)


def groups(rows: Iterable[Row], by: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of some settings, in the order of their first appearance."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), []).append(row)
    return found


def summary(name: str, title: str, rows: Sequence[Row], by: Mapping[str, str], metrics: Sequence[Metric],
            margin: str = INTERVAL, published: Published | None = None, note: str = "") -> Table:
    """Means and margins, a line for each combination of the settings `by`, given with their headings.

    Published figures stand before ours, in a column of their own that names their measure. Searches that diverged are
    left out of the means.
    """
    lines, titles = [], [metric.title for metric in metrics]
    for key, members in groups(rows, tuple(by)).items():
        link, kept = link_to(members[0]), [row for row in members if not row.diverged]
        means = [MARGINS[margin](row[metric.name] for row in kept) for metric in metrics]
        known = [] if published is None else [text(published.figures.get(key))]
        lines.append((*map(text, key), text(len(members)), *known, *(
            number(mean, metric, link, extent) if kept else Cell("diverged", None, link)
            for (mean, extent), metric in zip(means, metrics, strict=True))))
    if lost := sum(row.diverged for row in rows):
        note = f"Left out, as the search diverged: {lost} of {len(rows)}. {note}".strip()
    if published is not None:
        titles = [f"published: {published.metric.title}", *titles]
        note = f"{note} Published: {published.source}.".strip()
    note = f"Mean ± {margin} over the photographs. {note}".strip()
    return Table(name, title, (*by.values(), "images", *titles), tuple(lines), note)


def widened(table: Table, across: str, keys: int) -> Table:
    """A summary whose values of one setting are columns, each metric's side by side; `keys` columns are no metrics."""
    place = table.columns.index(across)
    kept = [i for i in range(keys) if i != place]
    shown = list(dict.fromkeys(row[place].text for row in table.rows))
    lines: dict[tuple[Cell, ...], dict[str, tuple[Cell, ...]]] = {}
    for row in table.rows:
        lines.setdefault(tuple(row[i] for i in kept), {})[row[place].text] = row[keys:]
    heads = [f"{title} ({across} {value})" for title in table.columns[keys:] for value in shown]
    unknown = tuple(text(None) for _ in table.columns[keys:])
    rows = tuple((*key, *(cell for cells in zip(*(found.get(value, unknown) for value in shown), strict=True)
                          for cell in cells)) for key, found in lines.items())
    return replace(table, columns=(*(table.columns[i] for i in kept), *heads), rows=rows)


def every_image(rows: Sequence[Row], by: dict[str, str], metrics: Sequence[Metric]) -> Table:
    """A line for each row, its numbers linked to its picture."""
    lines = tuple((*(text(row[name]) for name in by),
                   *(number(row[metric.name], metric, link_to(row)) for metric in metrics)) for row in rows)
    columns = (*by.values(), *(metric.title for metric in metrics))
    return Table("every-image", "Every photograph", columns, lines, "Numbers link to their pictures.")


def link_to(row: Row) -> str:
    """The target of a row's pictures on the page; empty if it has none."""
    return f"#p-{row.key}" if row.pictures else ""


def with_values(row: Row, **values: Any) -> Row:
    """A row with more values."""
    return replace(row, values={**row.values, **values})


def caption(row: Row, across: Sequence[str], headings: Mapping[str, str], picture: str) -> str:
    """Settings and error of a picture, or of its row's part or code, in one line; numbers with their heading."""
    told = [f"{headings[name]} {row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in across]
    name = [] if picture == "image" else [picture.replace("-", " ")]
    own = row[f"error {picture}"]
    error = next((value for value in (own, row["error_part"], row["error"]) if value is not None), None)
    said = "diverged" if row.diverged and own is None else "" if error is None else f"{error:.3f}"
    return " · ".join([*told, *name, *([said] if said else [])])
