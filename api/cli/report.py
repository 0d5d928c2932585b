"""``unfeature report``: the page about a result."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write FOLDER/report.html, one self-contained page about the result in FOLDER, and print where it is."""
    from unfeature.show.report import write_report

    click.echo(write_report(folder))
