"""The command line: each command calls one public function. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .bench import bench
from .common import command_line
from .invert import features, invert, keypoints
from .learn import learn
from .maximize import caricature, maximize
from .options import FILE, Commands

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


for command in (invert, features, keypoints, maximize, caricature, learn, bench):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 if all went well, 2 with one line for a mistake, 130 if stopped by the user."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        sys.exit(cli.main(given, prog_name="unfeature", standalone_mode=False, obj=command_line(given)) or 0)
    except (click.Abort, KeyboardInterrupt):
        click.echo("unfeature: stopped", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        sys.exit(0)
    except click.ClickException as error:
        message = error.format_message()
    except OSError as error:
        message = f"{error.filename or 'a file'}: {error.strerror}" if error.strerror else str(error)
    except ValueError as error:
        message = str(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        message = "there is not enough memory: take smaller images, or fewer at once"
    click.echo(f"unfeature: {' '.join(message.split())}", err=True)
    sys.exit(2)
