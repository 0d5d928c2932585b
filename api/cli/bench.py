"""``unfeature bench``: the tables of the study, one command each, whose options are the fields of the table's class."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from unfeature.catalogue import summary_of
from unfeature.parameters.kinds import FILE, LARGEST, values
from unfeature.parameters.signatures import option_type

from .common import progress_bar
from .options import Commands, shared

FLAGS = {"data_weights": ("--data-weights", "--C")}
POSITIVE = values(click.FloatRange(0, min_open=True))


class Tables(Commands):
    """The catalogue of tables as commands; a table is imported when its command is used."""

    def entries(self) -> dict[str, str]:
        """The tables and their summaries."""
        from unfeature.benchmarks import TABLES

        return {name: TABLES.outline(name)[0] for name in TABLES}

    def get_entry(self, name: str) -> click.Command | None:
        """A table's command."""
        from unfeature.benchmarks import TABLES

        try:
            return table_command(name, TABLES[name]) if name in TABLES else None
        except ModuleNotFoundError as error:
            raise ValueError(f"benchmarks need {error.name}: install unfeature[bench]") from error


@click.group(cls=Tables)
def bench() -> None:
    """Make the tables of the study.

    A run goes on from what its folder holds; a second run does only what is missing. The page, report.html, needs no
    network; CSV and JSON files are beside it.

    \b
    Examples:
      unfeature bench descriptors --images photographs/ --train others/ --count 20 --out hog/
      unfeature bench descriptors --images photographs/ --features hog,dpm --methods best,fast --out hog/
      unfeature bench cnn --images photographs/ --net vgg-m --weights imagenet-vgg-m.mat --out cnn/
      unfeature bench cvpr2015 --images photographs/ --weights squeezenet1_0.safetensors --out cvpr2015/
      unfeature bench tables cvpr2015/ cnn/ -o tables.md
    """


def table_command(name: str, table: type[Any]) -> click.Command:
    """The command of a table: its options are the fields of the class."""

    @click.option("--jobs", type=click.IntRange(1, 1000), help="Processes; 1 is this one [as many as cores].")
    @shared("scheduler", "quiet")
    def command(jobs: int | None, scheduler: str | None, quiet: bool, **options: Any) -> None:
        from unfeature.benchmarks.runner import bench as make

        with progress_bar("task", quiet) as progress:
            page, failures = make(name, jobs, scheduler, announced(progress, quiet), **options)
        for key, reason in failures.items():
            click.echo(f"{key}: {reason}", err=True)
        click.echo(page)
        if failures:
            raise click.ClickException(f"{len(failures)} tasks failed; run the command again to try them again")

    made = click.command(name, help=summary_of(table.__doc__))(command)
    kinds = typing.get_type_hints(table, include_extras=True)
    made.params[:0] = [option(f, *typing.get_args(kinds[f.name])) for f in dataclasses.fields(table) if f.init]
    return made


def announced(progress: Callable[..., None], quiet: bool) -> Callable[[int, int, int], None]:
    """A callback that says how many tasks there are before the first one begins."""
    known: list[int] = []

    def tell(done: int, total: int, failed: int) -> None:
        if not quiet and total and total not in known:
            click.echo(f"{total} tasks, {done} done before", err=True)
        known.append(total)
        progress(done, total, failed)

    return tell


def option(field: dataclasses.Field[Any], kind: Any, about: Any) -> click.Option:
    """The command-line option of a field of type ``Annotated[kind, about]``."""
    several = kind == tuple[Path, ...]
    if several:
        chosen: Any = FILE
    elif kind == tuple[float, ...]:
        chosen = POSITIVE
    else:
        chosen = option_type(kind) if about.least is None else click.IntRange(about.least, about.most or LARGEST)
    required = field.default is dataclasses.MISSING
    shown = not required and field.default not in (None, ())
    usual: dict[str, Any] = {} if required else {"default": field.default, "show_default": shown}
    flags = FLAGS.get(field.name, (f"--{field.name.replace('_', '-')}",))
    return click.Option([*flags, field.name], type=chosen, help=about.help, required=required, multiple=several,
                        **usual)


@bench.command("tables")
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The Markdown file to write.")
def tables(runs: tuple[Path, ...], output: Path) -> None:
    """Write the summaries of finished RUNS, folders of `unfeature bench`, as one Markdown page."""
    from unfeature.benchmarks.report import markdown
    from unfeature.io.files import write_text
    from unfeature.io.output import check_output

    check_output(output, [run / "results.json" for run in runs], b"# Tables")
    write_text(output, markdown(runs))
    click.echo(output)
