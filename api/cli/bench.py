"""``unfeature bench``: the tables of the study, one command each, whose options are the fields of the table's class."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


class Several(click.ParamType):  # type: ignore[type-arg]
    """``a,b,c``, or ``1,20,100``: a tuple of str, or of positive float."""

    name = "a,b,…"

    def __init__(self, kind: type[str] | type[float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The tuple."""
        if not isinstance(value, str):
            return value
        try:
            parts = tuple(self.kind(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            parts = ()
        if self.kind is float and (not parts or min(map(float, parts)) <= 0):
            self.fail(f"{value!r} is not a list of positive numbers, such as 1,20,100", param, ctx)
        return parts


TYPES: dict[Any, Any] = {str: str, Path: click.Path(path_type=Path), tuple[str, ...]: Several(str),
                         tuple[float, ...]: Several(float)}
FLAGS = {"data_weights": ("--data-weights", "--C")}


class Tables(click.Group):
    """The catalogue of tables as commands; a table is imported when its command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The tables, then the other commands."""
        from unfeature.benchmarks import TABLES

        return [*TABLES, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A table's command."""
        from unfeature.benchmarks import TABLES

        return table_command(name, TABLES[name]) if name in TABLES else super().get_command(ctx, name)


@click.group(cls=Tables)
def bench() -> None:
    """Make the tables of the study.

    A run goes on from what its folder holds; a second run does only what is missing. The page, report.html, needs no
    network; CSV and JSON files are beside it.

    \b
    Examples:
      unfeature bench hog --images photographs/ --train others/ --count 20 --out hog/
      unfeature bench hog --images photographs/ --features hog,dpm --methods best,fast --out hog/
      unfeature bench cnn --images photographs/ --net vgg-m --weights imagenet-vgg-m.mat --out cnn/
      unfeature bench tables hog/ cnn/ -o tables.md
    """


def table_command(name: str, table: type[Any]) -> click.Command:
    """The command of a table: its options are the fields of the class."""

    @click.option("--jobs", type=click.IntRange(1), help="Processes; 1 is this one [as many as cores].")
    @click.option("--scheduler", metavar="tcp://HOST:PORT", help="Run on a Dask cluster with the same files.")
    @click.option("--quiet", is_flag=True, help="No progress bar.")
    def command(jobs: int | None, scheduler: str | None, quiet: bool, **options: Any) -> None:
        try:
            from unfeature.benchmarks.runner import bench as make
        except ModuleNotFoundError as error:
            raise ValueError(f"benchmarks need {error.name}: install unfeature[bench]") from error
        with _task_bar(quiet) as progress:
            page, failures = make(name, jobs, scheduler, progress, **options)
        for key, reason in failures.items():
            click.echo(f"{key}: {reason}", err=True)
        click.echo(page)
        if failures:
            raise click.ClickException(f"{len(failures)} tasks failed; run the command again to try them again")

    decorated: Any = command
    kinds = typing.get_type_hints(table, include_extras=True)
    for field in reversed(dataclasses.fields(table)):
        if field.init:
            decorated = option(field, *typing.get_args(kinds[field.name]))(decorated)
    return click.command(name, help=(table.__doc__ or "").partition("\n")[0])(decorated)


def option(field: dataclasses.Field[Any], kind: Any, about: Any) -> Callable[..., Any]:
    """The command-line option of a field of type ``Annotated[kind, about]``."""
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    settings: dict[str, Any] = {"help": about.help, "required": field.default is dataclasses.MISSING}
    if not settings["required"]:
        settings |= {"default": field.default, "show_default": field.default not in (None, ())}
    if kind is int:
        settings["type"] = click.IntRange(about.least, about.most)
    elif typing.get_origin(kind) is typing.Literal:
        settings["type"] = click.Choice(typing.get_args(kind))
    elif kind == tuple[Path, ...]:
        settings |= {"type": TYPES[Path], "multiple": True}
    else:
        settings["type"] = TYPES[kind]
    return click.option(*FLAGS.get(field.name, (f"--{field.name}",)), field.name, **settings)


@contextmanager
def _task_bar(quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Tasks done, failed, and the time left."""
    from tqdm import tqdm

    with tqdm(unit="task", dynamic_ncols=True, disable=True if quiet else None) as bar:

        def show(progress: Any) -> None:
            if bar.total != progress.total or bar.n > progress.done:
                bar.reset(progress.total)
            left = "" if progress.seconds_left is None else f", {tqdm.format_interval(progress.seconds_left)} left"
            bar.set_postfix_str(f"{progress.failed} failed{left}", refresh=False)
            bar.update(progress.done - bar.n)

        yield show


@bench.command("tables")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The Markdown file to write.")
def tables(runs: tuple[Path, ...], output: Path) -> None:
    """Write the summaries of finished RUNS, folders of `unfeature bench`, as one Markdown page."""
    from unfeature.benchmarks.report import markdown
    from unfeature.io.files import write_text

    write_text(output, markdown(runs))
    click.echo(output)
