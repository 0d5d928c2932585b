"""``unfeature app``: a page on which codes are inverted."""

from __future__ import annotations

import click


@click.command("app")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to serve at; another than this machine's own lets others in.")
@click.option("--port", type=click.IntRange(0, 2**16 - 1), metavar="NUMBER", help="Port [7860, or another free one].")
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
def app(host: str, opened: bool, port: int | None = None) -> None:
    """Serve a page on which codes are inverted, for this machine alone, until Ctrl-C.

    It needs gradio: pip install 'unfeature[app]'. Nothing leaves this machine.

    \b
    Examples:
      unfeature app
      unfeature app --port 8000 --open
    """
    from unfeature.app.server import serve

    def say(address: str) -> None:
        click.echo(f"{address}\nCtrl-C ends it.")
        if opened:
            click.launch(address)

    serve(host, port, say)
