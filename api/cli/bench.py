"""``unfeature bench``: the tables of the study, one command each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .options import SEED

SUMMARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "hog": ("Invert descriptors with every method, beside the published figures.",
            ("methods", "features", "train", "models", "side", "steps")),
    "cnn": ("Invert layers of a network: error, consistency and naturalness by layer and C.",
            ("net", "weights", "layers", "methods", "data_weights", "steps")),
    "regularizers": ("Invert without priors, with other β, with and without jitter, with other C.",
                     ("features", "net", "weights", "layers", "data_weights", "side", "steps")),
    "starts": ("Invert from several starts, and see how far apart the images are.",
               ("features", "net", "weights", "layers", "starts", "methods", "side", "steps")),
    "groups": ("Invert parts of codes: half of the channels, the central positions.",
               ("features", "net", "weights", "layers", "methods", "side", "steps")),
    "templates": ("Draw linear templates, .npz files of part filters on DPM features; --images is their folder.",
                  ("methods",)),
    "speed": ("Time descriptors and inversions against other libraries, in one run.", ("side",)),
}


class Names(click.ParamType):  # type: ignore[type-arg]
    """``a,b,c``."""

    name = "a,b,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of str."""
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


class Numbers(Names):
    """``1,20,100``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of float, all positive."""
        names = super().convert(value, param, ctx)
        try:
            numbers = tuple(float(name) for name in names)
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) <= 0:
            self.fail(f"{value!r} is not a list of positive numbers, such as 1,20,100", param, ctx)
        return numbers


OPTIONS: dict[str, Callable[..., Any]] = {
    "methods": click.option("--methods", type=Names(), help="Presets and learned methods [all that apply]."),
    "features": click.option("--features", type=Names(), help="Descriptors [the table's own]."),
    "layers": click.option("--layers", type=Names(), help="Layers of the network [the table's own]."),
    "net": click.option("--net", metavar="NAME", help="A network, such as squeezenet1_0."),
    "weights": click.option("--weights", type=click.Path(path_type=Path), help="Its weights."),
    "train": click.option("--train", type=click.Path(path_type=Path), multiple=True,
                          help="Folder of photographs that methods learn from; may be given again."),
    "models": click.option("--models", type=click.Path(path_type=Path), help="Learned before: METHOD-FEATURE.npz."),
    "data_weights": click.option("--C", "data_weights", type=Numbers(), help="Values of C [the table's own]."),
    "starts": click.option("--starts", type=click.IntRange(2, 25), default=4, show_default=True, help="For each code."),
    "side": click.option("--side", type=click.IntRange(32), default=256, show_default=True, help="Longer side."),
    "steps": click.option("--steps", type=click.IntRange(1), help="Gradient evaluations [the presets' own]."),
}


@click.group()
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


def _command(table: str, summary: str, names: tuple[str, ...]) -> click.Command:
    def command(images: Path, out: Path, jobs: int | None, scheduler: str | None, quiet: bool, **given: Any) -> None:
        from unfeature.benchmarks.protocol import Options
        from unfeature.benchmarks.study import bench as make

        options = Options(images, out, **{name: value for name, value in given.items() if value is not None})
        with _task_bar(quiet) as progress:
            page, failures = make(table, options, jobs, scheduler, progress)
        for key, reason in failures.items():
            click.echo(f"{key}: {reason}", err=True)
        click.echo(page)
        if failures:
            raise click.ClickException(f"{len(failures)} tasks failed; run the command again to try them again")

    shared = (
        click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of test photographs."),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run."),
        click.option("--count", type=click.IntRange(1), help="Only the first so many photographs."),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Of all that is drawn."),
        click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu", help="For presets [cpu]."),
        click.option("--jobs", type=click.IntRange(1), help="Processes [as many as cores]."),
        click.option("--scheduler", metavar="tcp://HOST:PORT", help="Run on a Dask cluster with the same files."),
        click.option("--quiet", is_flag=True, help="No progress bar."),
    )
    decorated: Any = command
    for option in (*reversed(shared), *(OPTIONS[name] for name in reversed(names))):
        decorated = option(decorated)
    return click.command(table, help=summary)(decorated)


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


for _table, (_summary, _names) in SUMMARIES.items():
    bench.add_command(_command(_table, _summary, _names))


@bench.command("tables")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The Markdown file to write.")
def tables(runs: tuple[Path, ...], output: Path) -> None:
    """Write the summaries of finished RUNS, folders of `unfeature bench`, as one Markdown page."""
    from unfeature.benchmarks.report import markdown
    from unfeature.io.files import write_text

    write_text(output, markdown(runs))
    click.echo(output)
