"""The console script `trainlab`: one module per command.

``trainlab --help`` imports all of these modules, so that they import what is slow (torch, pandas, DVC) inside of functions.
"""

from typing import Annotated

import typer

from trainlab import __version__
from trainlab.cli import run_app
from trainlab.commands.compare import compare
from trainlab.commands.export import export
from trainlab.commands.predict import predict
from trainlab.commands.repro import repro
from trainlab.commands.search import search

app = typer.Typer(name="trainlab", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(repro)
app.command()(search)
app.command()(compare)
app.command()(predict)
app.command()(export)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"trainlab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train classifiers under named tricks and objectives, and compare them."""


def main() -> None:
    """Run the console script."""
    run_app(app)
