"""`python -m benchmarks COMMAND`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.flow import main_job as main_job_flow

app = typer.Typer(
    help="Whole flows of aiodis, on real input, with figures at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Keep the commands' names needed, also while there is only one."""


@app.command()
def main_job(
    events: Annotated[int, typer.Option(min=1, help="Events to send, at most what there is.")] = (
        336_776
    ),
    partitions: Annotated[int, typer.Option(min=1, max=50, help="Partitions (COMMON).")] = 50,
    deadline: Annotated[int, typer.Option(help="Give up after this many seconds.")] = 300,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the server's data folder and the logs here.")
    ] = None,
) -> None:
    """Send real flights through an embedded DIS; kill the reader half way; count what came.

    The last line printed is one line of JSON. The exit status is 1 if an event was
    lost or a key's events came out of order.
    """
    raise typer.Exit(main_job_flow.main(events, partitions, deadline, keep))


app(prog_name="python -m benchmarks")
