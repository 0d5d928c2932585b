"""From rows to tables: means with their intervals, every image, and the pictures that numbers link to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .protocol import interval
from .tasks import Row, Task, rounded


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name in the rows, its heading, its decimals, and a factor for display."""

    name: str
    title: str
    digits: int = 3
    factor: float = 1.0


ERROR = Metric("error", "relative error", 4)
CENTRED = Metric("error_centred", "centred error", 4)
CVPR15 = Metric("cvpr15", "CVPR’15 error, %", 2, 100)
CORRELATION = Metric("correlation", "correlation")
SSIM = Metric("ssim", "SSIM")
PSNR = Metric("psnr", "PSNR, dB", 2)
NATURALNESS = Metric("naturalness", "naturalness")
SECONDS = Metric("seconds", "seconds", 2)
PROCESSOR = Metric("cpu_seconds", "processor seconds", 2)
EVALUATIONS = Metric("evaluations", "gradient evaluations", 0)


@dataclass(frozen=True)
class Cell:
    """What stands at one place of a table: the text, the number to sort by, and where it links to."""

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
    """Rows of pictures side by side; each is a finished task's picture by name, with its caption."""

    name: str
    title: str
    rows: tuple[tuple[tuple[Row, str, str], ...], ...]


@dataclass(frozen=True)
class Page:
    """What a run's page shows, and the rows beneath it."""

    title: str
    lead: str
    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    charts: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The tasks of a run: first the preparations, then the rows."""

    tasks: tuple[Task, ...]
    preparations: tuple[Task, ...] = field(default=())


def text(value: str, link: str = "") -> Cell:
    """A cell of text."""
    return Cell(value, None, link)


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


def summary(
    name: str, title: str, rows: Sequence[Row], by: dict[str, str], metrics: Sequence[Metric], note: str = ""
) -> Table:
    """Means ± 1.96 standard errors over photographs, a line for each setting.

    Parameters
    ----------
    name, title, note : str
    rows : sequence of Row
    by : dict of str
        The settings that make a line, with their headings; the first also names the sheet that numbers link to.
    metrics : sequence of Metric
    """
    lines = []
    for key, members in groups(rows, tuple(by)).items():
        link = f"#p-{members[0].key}" if members[0].pictures else ""
        cells = [setting_cell(value) for value in key]
        cells.append(Cell(str(len(members)), len(members)))
        for metric in metrics:
            mean, margin = interval(row[metric.name] for row in members)
            cells.append(number(mean, metric, link, margin))
        lines.append(tuple(cells))
    columns = (*by.values(), "images", *(metric.title for metric in metrics))
    return Table(name, title, columns, tuple(lines), note or "Mean ± 1.96 standard errors over the photographs.")


def every_image(rows: Sequence[Row], by: dict[str, str], metrics: Sequence[Metric]) -> Table:
    """A line for each row, its numbers linked to its picture."""
    lines = []
    for row in rows:
        link = f"#p-{row.key}" if row.pictures else ""
        cells = [setting_cell(row[name]) for name in by]
        lines.append((*cells, *(number(row[metric.name], metric, link) for metric in metrics)))
    columns = (*by.values(), *(metric.title for metric in metrics))
    return Table("every-image", "Every photograph", columns, tuple(lines), "Numbers link to their pictures.")


def setting_cell(value: Any) -> Cell:
    """A cell for a setting: numbers sort as such."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(f"{value:g}", float(value))
    return text("–" if value is None else str(value))


def with_values(row: Row, **values: Any) -> Row:
    """A row with more values."""
    return replace(row, values={**row.values, **values})


def sheets(rows: Sequence[Row], originals: Sequence[Row], by: str, across: Sequence[str]) -> tuple[Sheet, ...]:
    """For each value of a setting a sheet: a line a photograph, the photograph first, then what was found from it.

    Parameters
    ----------
    rows, originals : sequence of Row
        The pictures found, and those of the photographs, which rows name in their setting "image".
    by : str
        The setting that makes a sheet.
    across : sequence of str
        The settings that make a caption.
    """
    photographs = {row["image"]: row for row in originals}
    found = []
    for (value,), members in groups(rows, (by,)).items():
        lines = []
        for (image,), line in groups(members, ("image",)).items():
            first = [(photographs[image], "image", str(image))] if image in photographs else []
            lines.append((*first, *((row, name, caption(row, across, name)) for row in line for name in row.pictures)))
        found.append(Sheet(f"sheet-{value}", str(value), tuple(lines)))
    return tuple(found)


def caption(row: Row, across: Sequence[str], picture: str) -> str:
    """Settings and error of a picture, in one line."""
    parts = [str(row[name]) for name in across]
    parts += [] if picture == "image" else [picture.replace("-", " ")]
    error = row["error"]
    return " · ".join([*parts, *([] if error is None else [f"{error:.3f}"])])
