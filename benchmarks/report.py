"""A run's page, with its CSV, JSON and Markdown: all that was measured, and how."""

from __future__ import annotations

import base64
import csv
import datetime
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from unfeature.io.files import read_json, write_json, write_text
from unfeature.show.report import render

from .page import Cell, Page, Table
from .protocol import Options
from .tasks import Row

PATHS = ("images", "out", "train", "models", "weights")


def write(name: str, page: Page, failures: dict[str, str], options: Options) -> Path:
    """Write report.html, rows.csv, results.json and a CSV file for each table; the page's path is returned."""
    settings = described(name, page.rows, options)
    for table in page.tables:
        write_text(options.out / f"{table.name}.csv", table_csv(table))
    write_text(options.out / "rows.csv", rows_csv(page.rows))
    results = {"table": name, "title": page.title, "lead": page.lead, "settings": settings, "failures": failures,
               "tables": [asdict(table) for table in page.tables],
               "rows": [{"key": row.key, **row.settings, **row.values, **row.machine} for row in page.rows]}
    write_json(options.out / "results.json", results)
    contents = render("bench.html", page=page, settings=settings, failures=failures, picture=_inline,
                      version=settings["version"])
    write_text(options.out / "report.html", contents)
    return options.out / "report.html"


def described(name: str, rows: Sequence[Row], options: Options) -> dict[str, str]:
    """The settings of a run in words: what was asked for, when, with which version, on what; no paths."""
    asked = {key: value for key, value in asdict(options).items() if value is not None and key not in PATHS}
    shown = {key.replace("_", " "): ", ".join(map(str, v)) if isinstance(v, tuple) else str(v)
             for key, v in asked.items()}
    machine = {key: ", ".join(dict.fromkeys(str(row.machine[key]) for row in rows))
               for key in ("version", "commit", "hardware", "threads")}
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    photographs = {row["image"] for row in rows if row["image"] is not None}
    made = {"command": f"unfeature bench {name}", "date": date, "photographs": str(len(photographs))}
    return {**made, **shown, **machine}


def table_csv(table: Table) -> str:
    """A table as CSV: numbers in full; ± margins have columns of their own."""
    margins = [any(" ± " in row[i].text for row in table.rows) for i in range(len(table.columns))]
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    titles = zip(table.columns, margins, strict=True)
    writer.writerow([name for title, wide in titles for name in ((title, f"{title} ±") if wide else (title,))])
    for row in table.rows:
        cells = zip(row, margins, strict=True)
        writer.writerow([value for cell, wide in cells for value in _values(cell, wide)])
    return stream.getvalue()


def _values(cell: Cell, wide: bool) -> tuple[Any, ...]:
    value, _, margin = cell.text.partition(" ± ")
    first = value if cell.value is None else cell.value
    return (first, margin) if wide else (first,)


def rows_csv(rows: Sequence[Row]) -> str:
    """Every row with its settings, values and machine."""
    flat = [{"key": row.key, **row.settings, **row.values, **row.machine} for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    stream = StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()


def markdown(folders: Sequence[Path]) -> str:
    """The summaries of several runs as one Markdown page; each folder holds what `write` wrote."""
    opening = ("Written by `unfeature bench tables`; do not edit. How they are made: benchmarks.md. A machine may have "
               "been busy with other work as well: compare the processor’s seconds. They hold the whole task.")
    parts = ["# Tables", "", opening, ""]
    for folder in folders:
        results = read_json(Path(folder) / "results.json")
        settings = results["settings"]
        made = ", ".join(f"{name} {value}" for name, value in settings.items() if name != "command")
        parts += [f"## {results['title']}", "", results["lead"], "", f"`{settings['command']}`: {made}.", ""]
        for table in results["tables"]:
            if table["name"] != "every-image":
                parts += _markdown_table(table)
        if results["failures"]:
            parts += [f"{len(results['failures'])} tasks failed:", ""]
            parts += [f"- {key}: {reason}" for key, reason in results["failures"].items()] + [""]
    return "\n".join(parts)


def _markdown_table(table: dict[str, Any]) -> list[str]:
    lines = ["| " + " | ".join(table["columns"]) + " |", "|" + "---|" * len(table["columns"])]
    lines += ["| " + " | ".join(str(cell["text"]).replace("|", "\\|") for cell in row) + " |" for row in table["rows"]]
    return [f"### {table['title']}", "", *lines, "", table["note"], ""]


def _inline(path: Path) -> str:
    return "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
