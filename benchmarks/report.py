"""A run's page, with its CSV, JSON and Markdown: all that was measured, and how."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pandas import DataFrame

from unfeature.display.report import render
from unfeature.io.files import read_json, write_json, write_text
from unfeature.io.schema import Value

from .page import Page, Table
from .study import Study
from .tasks import Row

PATHS = ("images", "out", "train", "models", "weights", "templates")
MACHINE = ("version", "commit", "hardware", "threads")
FILES = ("results.json", "report.html", "rows.csv", "summary.csv", "every-image.csv")
RESULTS = {**dict.fromkeys(("table", "title", "lead"), Value(str)),
           **dict.fromkeys(("settings", "failures"), Value(dict)),
           **dict.fromkeys(("tables", "rows", "files"), Value(list))}


def write(name: str, page: Page, failures: dict[str, str], study: Study, folder: Path) -> None:
    """Write report.html, rows.csv, results.json and a CSV file for each table into a folder."""
    settings = described(name, page.rows, study)
    rows = [row.flat for row in page.rows]
    for table in page.tables:
        write_text(folder / f"{table.name}.csv", table_csv(table))
    write_text(folder / "rows.csv", to_csv(rows, list(dict.fromkeys(name for row in rows for name in row))))
    write_json(folder / "results.json", {
        "table": name, "title": page.title, "lead": page.lead, "settings": settings, "failures": failures,
        "tables": [asdict(table) for table in page.tables], "rows": rows})
    write_text(folder / "report.html", render("bench.html", page=page, settings=settings, failures=failures,
                                                 picture=_inline, version=settings["version"]))


def described(name: str, rows: Sequence[Row], study: Study) -> dict[str, str]:
    """The settings of a run in words: its command and options, when, with which version, on what; no folders."""
    options = {key.replace("_", " "): _words(value, ", ") for key, value in asdict(study).items()
               if value not in (None, ()) and key not in PATHS}
    machine = {key: ", ".join(dict.fromkeys(str(row.machine[key]) for row in rows)) for key in MACHINE}
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    photographs = {row["image"] for row in rows if row["image"] is not None}
    return {"command": command(name, study), "date": date, "photographs": str(len(photographs)),
            **options, **machine}


def command(name: str, study: Study) -> str:
    """The command of a run: the options that are not the default ones, paths without their folders."""
    words = [f"unfeature bench {name}"]
    for field in fields(study):
        value = getattr(study, field.name)
        if field.init and field.name != "out" and value != field.default:
            values = value if field.name == "train" else (value,)
            words += [f"--{field.name.replace('_', '-')} {_words(one)}" for one in values]
    return " ".join(words)


def to_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV, each value as it is; missing ones are empty."""
    return str(DataFrame(rows, columns=list(columns), dtype=object).to_csv(index=False, lineterminator="\n"))


def table_csv(table: Table) -> str:
    """A table as CSV: numbers in full; ± margins have columns of their own."""
    rows: list[dict[str, Any]] = [{} for _ in table.rows]
    columns: list[str] = []
    for i, title in enumerate(table.columns):
        cells = [row[i] for row in table.rows]
        columns += [title, f"{title} ±"] if any(" ± " in cell.text for cell in cells) else [title]
        for row, cell in zip(rows, cells, strict=True):
            value, _, row[f"{title} ±"] = cell.text.partition(" ± ")
            row[title] = value if cell.value is None else cell.value
    return to_csv(rows, columns)


def markdown(folders: Sequence[Path]) -> str:
    """The summaries of several runs as one Markdown page; each folder holds what `write` wrote."""
    opening = ("Written by `unfeature bench tables`; do not edit. How they are made: benchmarks.md. A machine may have "
               "been busy with other work as well: compare the processor’s seconds. They hold the whole task. Errors "
               "in different measures are not comparable: differences.md.")
    parts = ["# Tables", "", opening, ""]
    for folder in folders:
        path = Path(folder) / "results.json"
        results = read_json(path, RESULTS)
        try:
            parts += ["\n".join(_section(results)), ""]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}): run the benchmark again") from error
    return "\n".join(parts)


def _section(results: dict[str, Any]) -> Iterator[str]:
    """The lines about one run."""
    settings = results["settings"]
    shown = ((name, settings[name]) for name in ("date", "photographs", *MACHINE))
    made = ", ".join(escaped(f"{name} {value}") for name, value in shown)
    yield from (f"## {results['title']}", "", results["lead"], "", f"`{settings['command']}`: {made}.")
    for table in results["tables"]:
        if table["name"] != "every-image":
            cells = [[escaped(cell["text"]) for cell in row] for row in table["rows"]]
            lines = DataFrame(cells, columns=table["columns"]).to_markdown(index=False, disable_numparse=True)
            yield from ("", f"### {table['title']}", "", lines, "", table["note"])
    if results["failures"]:
        yield from ("", f"{len(results['failures'])} tasks failed:", "")
        yield from (f"- {escaped(key)}: {escaped(reason)}" for key, reason in results["failures"].items())


def escaped(text: str) -> str:
    """A text in one line of Markdown, in which nothing is mark-up."""
    return re.sub(r"([\\`*\[\]<>|&~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(str(text).split()))


def _words(value: Any, comma: str = ",") -> str:
    if isinstance(value, tuple):
        return comma.join(map(_words, value))
    return value.name if isinstance(value, Path) else f"{value:g}" if isinstance(value, float) else str(value)


def _inline(path: Path) -> str:
    return "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
