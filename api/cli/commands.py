"""The commands: each calls one public function. Nothing heavy is imported before one runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from unfeature.parameters.kinds import FILE
from unfeature.parameters.mistakes import sentence_about

from . import STOPPED
from .app import app
from .bench import bench
from .common import command_line, say_warnings
from .invert import features, invert, keypoints
from .learn import learn
from .maximize import caricature, maximize
from .near import adversarial, fooling, metamer
from .options import Commands
from .saliency import saliency

EPILOG = """\b
Examples:
  unfeature invert photo.jpg --feature hog -o out/
  unfeature features photo.jpg --feature hog --cell-size 8 -o code.npy
  unfeature invert code.npy --feature hog --cell-size 8 -o out/
  unfeature learn words photographs/ -o words.npz
  unfeature invert photo.jpg --feature bovw --words words.npz -o out/
  unfeature report out/

\b
`unfeature COMMAND --help` explains a command.
"""


@click.group(cls=Commands, epilog=EPILOG)
@click.version_option(package_name="unfeature")
def cli() -> None:
    """Turn image features back into images."""


@cli.command()
@click.argument("folder", type=FILE)
def report(folder: Path) -> None:
    """Write FOLDER/report.html, one self-contained page about the result in FOLDER, and print where it is."""
    from unfeature.display.report import write_report

    click.echo(write_report(folder))


for command in (invert, features, keypoints, maximize, caricature, metamer, adversarial, fooling, saliency, learn,
                bench, app):
    cli.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status. A mistake is said in one line, and so is what nobody foresaw."""
    try:
        with warnings.catch_warnings():
            say_warnings()
            given = sys.argv[1:] if arguments is None else arguments
            return cli.main(given, prog_name="unfeature", standalone_mode=False, obj=command_line(given)) or 0
    except (click.Abort, KeyboardInterrupt):
        return STOPPED
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        return 0
    except Exception as error:
        message, status = _message(error)
        click.echo(f"unfeature: {' '.join(message.split())}", err=True)
        return status


def _message(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit status."""
    if (said := sentence_about(error)) is not None:
        return said, 2
    if sys.flags.dev_mode:
        raise error
    return (f"{type(error).__name__}: {error}. This is a mistake in unfeature: please report it with what "
            "`python -X dev -m unfeature …` prints"), 1
