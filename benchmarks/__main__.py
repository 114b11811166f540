"""`python -m benchmarks COMMAND`."""

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import live as live_suite
from benchmarks import suites, whole
from benchmarks.flow import group_drill as group_drill_flow
from benchmarks.flow import main_job as main_job_flow
from benchmarks.processes import BenchmarkError
from benchmarks.run import Options, Output

app = typer.Typer(
    help="Whole flows of aiodis on real input, and what its work costs beside its peers'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_MIB = 1024 * 1024


class Auth(StrEnum):
    """How requests are proven."""

    AKSK = "aksk"
    TOKEN = "token"  # noqa: S105 - the name of a way, not a secret


class Loop(StrEnum):
    """What runs the client."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class Work(StrEnum):
    """Which way records go."""

    PUT = "put"
    GET = "get"
    BOTH = "both"

    @property
    def works(self) -> tuple[str, ...]:
        """The ways it names."""
        return suites.WORKS if self is Work.BOTH else (self.value,)


class Wire(StrEnum):
    """The form of requests with records, and of answers."""

    JSON = "json"
    PROTOBUF = "protobuf"


class Compression(StrEnum):
    """How requests are compressed."""

    NONE = "none"
    LZ4 = "lz4"
    SNAPPY = "snappy"
    ZSTD = "zstd"


class Ordering(StrEnum):
    """The producer's setting of the same name."""

    PARTITION = "partition"
    KEY = "key"
    NONE = "none"


class RateLimit(StrEnum):
    """The producer's setting of the same name, or both, one after the other."""

    OFF = "off"
    FIXED = "fixed"
    BOTH = "both"


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not numbers with commas between them", param_hint="--sizes"
        ) from None
    if not all(1 <= size <= _MIB for size in sizes):
        raise typer.BadParameter(f"a record has 1 to {_MIB} bytes", param_hint="--sizes")
    return sizes


def _one_size(text: str, least: int = 1) -> tuple[int, ...]:
    sizes = _sizes(text)
    if len(sizes) != 1 or sizes[0] < least:
        raise typer.BadParameter(f"one size, at least {least}", param_hint="--sizes")
    return sizes


def _numbers(text: str, option: str, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < least:
        raise typer.BadParameter(
            f"{text!r} is not whole numbers from {least} on, with commas between them",
            param_hint=option,
        )
    return numbers


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in suites.PEERS]:
        raise typer.BadParameter(
            f"there is no peer {unknown[0]!r}; there are: {', '.join(suites.PEERS)}",
            param_hint="--peers",
        )
    return names


def _vary(text: str) -> tuple[str, ...]:
    names = tuple(text.split(",")) if text else ()
    if unknown := [name for name in names if name not in suites.VARIATIONS]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is not varied; there are: {', '.join(suites.VARIATIONS)}",
            param_hint="--vary",
        )
    return names


Sizes = Annotated[str, typer.Option(help="Bytes of a record, with commas between them.")]
Batch = Annotated[int, typer.Option(min=1, max=10_000, help="Records a request.")]
Fetch = Annotated[
    int,
    typer.Option(min=1, max=10_000, help="Records an answer at most; 1 MiB holds 1,024 of 1 KB."),
]
Partitions = Annotated[int, typer.Option(min=1, max=1_000, help="Partitions of the stream.")]
Rounds = Annotated[int | None, typer.Option(min=1, help="Rounds; 5, or 1 with --quick.")]
Seconds = Annotated[
    float | None,
    typer.Option(min=0.01, help="CPU seconds of each measurement; 2, or 0.2 with --quick."),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write all figures to this file, or into a folder of baselines."),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot", help="Draw a picture (.png) and a page that needs nothing else (.html)."
    ),
]
Against = Annotated[
    Path | None,
    typer.Option("--against", help="Compare with an earlier result, or a folder of baselines."),
]
Vary = Annotated[
    str,
    typer.Option(
        help="Go through the values of settings instead, with commas between them: "
        + ", ".join(suites.VARIATIONS)
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Short and rough, to see that it runs.")]
WireForm = Annotated[Wire, typer.Option(help="The form on the wire.")]
EventLoop = Annotated[Loop, typer.Option(help="The event loop.")]
Way = Annotated[Auth, typer.Option(help="AK/SK, or a token.")]
Ways = Annotated[Work, typer.Option(help="Which way records go.")]
TLS = Annotated[bool, typer.Option("--tls/--no-tls", help="HTTPS, or plain HTTP.")]


@app.callback()
def root() -> None:
    """Keep the commands' names needed, also while there is only one."""


@app.command()
def put(
    sizes: Sizes = "100,1024",
    batch: Batch = 500,
    partitions: Partitions = 50,
    rounds: Rounds = None,
    seconds: Seconds = None,
    rate_limit: Annotated[RateLimit, typer.Option(help="Pacing.")] = RateLimit.BOTH,
    auth: Way = Auth.AKSK,
    wire: WireForm = Wire.JSON,
    compression: Annotated[Compression, typer.Option(help="Of requests.")] = Compression.NONE,
    vary: Vary = "",
    ordering: Annotated[Ordering, typer.Option(help="What is kept in order.")] = Ordering.PARTITION,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Say what a record costs: CPU of the client, all promises on, against a canned answerer.

    With rate_limit=fixed the stream's limits hold the client back, so that takes longer.
    """
    options = Options(
        sizes=_sizes(sizes),
        batch=batch,
        partitions=partitions,
        rounds=rounds or (1 if quick else 5),
        seconds=seconds or (0.2 if quick else 2.0),
        auth=auth,
        wire=wire,
        compression=compression,
        ordering=ordering,
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    settings = _vary(vary)
    limits = ("off", "fixed") if rate_limit is RateLimit.BOTH else (rate_limit.value,)
    _run(lambda console: suites.put(options, limits, settings, console))


@app.command()
def get(
    sizes: Sizes = "100,1024",
    fetch: Fetch = 10_000,
    partitions: Partitions = 50,
    rounds: Rounds = None,
    seconds: Seconds = None,
    auth: Way = Auth.AKSK,
    wire: WireForm = Wire.JSON,
    vary: Vary = "",
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Say what a record costs to read, in batches and with `async for`, from a canned backlog."""
    options = Options(
        sizes=_sizes(sizes),
        fetch=fetch,
        partitions=partitions,
        rounds=rounds or (1 if quick else 5),
        seconds=seconds or (0.2 if quick else 2.0),
        auth=auth,
        wire=wire,
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    settings = _vary(vary)
    _run(lambda console: suites.get(options, settings, console))


@app.command()
def peers(
    sizes: Sizes = "100,1024",
    work: Ways = Work.BOTH,
    batch: Batch = 500,
    fetch: Fetch = 10_000,
    partitions: Partitions = 50,
    rounds: Rounds = None,
    seconds: Seconds = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--peers",
            help=f"{', '.join(suites.PEERS)}, with commas between; all, or two with --quick.",
        ),
    ] = None,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Put and get the same records with aiodis, the vendor's SDKs and the floor, interleaved.

    The ratios say how many times a peer's CPU cost is ours, and how many times ours
    is the floor's. v2 is installed into an environment of its own at first use.
    """
    options = Options(
        sizes=_sizes(sizes),
        batch=batch,
        fetch=fetch,
        partitions=partitions,
        rounds=rounds or (1 if quick else 5),
        seconds=seconds or (0.2 if quick else 2.0),
        tls=tls,
        output=Output(json, plot, against),
    )
    if names is None and quick:
        names = "v3_sync,floor"
    chosen = None if names is None else _peers(names)
    _run(lambda console: suites.peers(options, work.works, chosen, console))


@app.command()
def floor(
    sizes: Sizes = "100,1024",
    work: Ways = Work.BOTH,
    batch: Batch = 500,
    fetch: Fetch = 10_000,
    rounds: Rounds = None,
    seconds: Seconds = None,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Say what no client can go below: asyncio's TLS, SHA-256 and base64 of the same bytes."""
    options = Options(
        sizes=_sizes(sizes),
        batch=batch,
        fetch=fetch,
        rounds=rounds or (1 if quick else 5),
        seconds=seconds or (0.2 if quick else 2.0),
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    _run(lambda console: suites.floor(options, work.works, console))


@app.command()
def paced(
    work: Annotated[Work, typer.Option(help="put or get.")] = Work.PUT,
    rate: Annotated[int, typer.Option(min=1, help="Records a second to put.")] = 50_000,
    sizes: Sizes = "1024",
    partitions: Partitions = 50,
    rounds: Rounds = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds of load; 20, or 1 with --quick.")
    ] = None,
    lingers: Annotated[
        str,
        typer.Option("--linger-ms", help="The producer's linger_ms, with commas between several."),
    ] = "50",
    sample: Annotated[int, typer.Option(min=1, help="Time each so many-th record.")] = 17,
    wire: WireForm = Wire.JSON,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Put or get at a steady rate with pacing on: latency, and the share of a core.

    Latency of a put runs from the time at which a record was due to its receipt. A get
    goes as fast as the limits of the partitions let: 2 MB a second each.
    """
    if work is Work.BOTH:
        raise typer.BadParameter("put or get, one at a time", param_hint="--work")
    waits = _numbers(lingers, "--linger-ms", 0)
    if work is Work.GET and len(waits) > 1:
        raise typer.BadParameter("only a put lingers", param_hint="--linger-ms")
    options = Options(
        sizes=_sizes(sizes),
        partitions=partitions,
        rounds=rounds or 1,
        seconds=seconds or (1.0 if quick else 20.0),
        wire=wire,
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    _run(lambda console: suites.paced(options, work, rate, waits, sample, console))


@app.command()
def latency(
    rates: Annotated[str, typer.Option(help="Records a second, with commas between them.")] = (
        "1000,5000"
    ),
    service_ms: Annotated[
        str, typer.Option(help="What the service's answers take longer; with commas.")
    ] = "5,20,80",
    sizes: Sizes = "1024",
    partitions: Partitions = 10,
    rounds: Rounds = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds of load; 10, or 1 with --quick.")
    ] = None,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Say how late receipts and handlers are under a load that keeps its timetable.

    An embedded DIS answers, with so much latency. Times run from when a record was due,
    so that what waits behind a stall counts as well. With --quick it is one rate, once.
    """
    options = Options(
        sizes=_one_size(sizes, least=16),
        partitions=partitions,
        rounds=rounds or 1,
        seconds=seconds or (1.0 if quick else 10.0),
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    loads, delays = _numbers(rates, "--rates", 1), _numbers(service_ms, "--service-ms", 0)
    _run(lambda console: whole.latency(options, loads[:1] if quick else loads, delays, console))


@app.command()
def account(
    processes: Annotated[
        str, typer.Option(help="How many processes share it, with commas between them.")
    ] = "1,4",
    rate: Annotated[
        int | None, typer.Option(min=1, help="Records a second to put; 1,000 a partition.")
    ] = None,
    sizes: Sizes = "1024",
    partitions: Annotated[int, typer.Option(min=1, max=50, help="Partitions (COMMON).")] = 50,
    seconds: Annotated[
        float | None, typer.Option(min=0.5, help="Seconds of writing; 15, or 2 with --quick.")
    ] = None,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Write and read a whole default account, 50 partitions at their limits, on one core.

    An embedded DIS with its limits on answers: the share of a core, what was throttled, how
    fair the partitions were served, and how several processes that know nothing of each
    other share the limits. Each reads a fixed part of the partitions.
    """
    options = Options(
        sizes=_one_size(sizes),
        partitions=partitions,
        rounds=1,
        seconds=seconds or (2.0 if quick else 15.0),
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    counts = _numbers(processes, "--processes", 1)
    _run(lambda console: whole.account(options, counts, rate or 1_000 * partitions, console))


@app.command()
def memory(
    rate: Annotated[int, typer.Option(min=1, help="Records a second.")] = 10_000,
    sizes: Sizes = "1024",
    partitions: Partitions = 10,
    buffer_mb: Annotated[int, typer.Option(min=1, help="The producer's buffer, in MiB.")] = 64,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.3, help="Seconds in all, a third each; 45, or 3 with --quick."),
    ] = None,
    loop: EventLoop = Loop.ASYNCIO,
    tls: TLS = True,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Follow a client's memory under load, while the service stands still, and afterwards.

    An embedded DIS answers, and is stopped for a third of the time. What it missed is sent
    when it goes on.
    """
    options = Options(
        sizes=_one_size(sizes),
        partitions=partitions,
        rounds=1,
        seconds=seconds or (3.0 if quick else 45.0),
        loop=loop,
        tls=tls,
        output=Output(json, plot, against),
    )
    _run(lambda console: whole.memory(options, rate, buffer_mb * 1024 * 1024, console))


@app.command()
def server(
    sizes: Sizes = "1024",
    partitions: Annotated[int, typer.Option(min=1, max=50, help="Partitions.")] = 50,
    gigabytes: Annotated[
        float | None,
        typer.Option(min=0.25, help="What passes through it; 10, or 0.25 with --quick."),
    ] = None,
    rounds: Rounds = None,
    seconds: Seconds = None,
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="HTTPS, or plain HTTP.")] = False,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Say what a record costs the embedded DIS, and how its memory goes as gigabytes pass.

    Its data is on disk, its limits are off, signatures are verified. For the memory its clock
    is moved by hand, so that it keeps one gigabyte.
    """
    options = Options(
        sizes=_one_size(sizes),
        partitions=partitions,
        rounds=rounds or (1 if quick else 5),
        seconds=seconds or (0.2 if quick else 2.0),
        tls=tls,
        output=Output(json, plot, against),
    )
    passing = gigabytes or (0.25 if quick else 10.0)
    _run(lambda console: whole.server(options, passing, console))


@app.command()
def live(
    stream: Annotated[str, typer.Option(help="A stream that is there, best one for this only.")],
    rate: Annotated[int, typer.Option(min=1, help="Records a second.")] = 200,
    sizes: Sizes = "1024",
    cap_mb: Annotated[float, typer.Option(min=0, help="Megabytes to send at most.")] = 20.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rounds: Rounds = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds of load; 20, or 1 with --quick.")
    ] = None,
    loop: EventLoop = Loop.ASYNCIO,
    json: Json = None,
    plot: Plot = None,
    against: Against = None,
    quick: Quick = False,
) -> None:
    """Measure a real endpoint with your own credentials, which are read from the environment.

    It says what it will send, and asks. Nothing is created or deleted, but an app
    named aiodis-bench for the reader's place.
    """
    options = Options(
        sizes=_one_size(sizes, least=16),
        rounds=rounds or 1,
        seconds=seconds or (1.0 if quick else 20.0),
        loop=loop,
        output=Output(json, plot, against),
    )

    def agreed(console: Console) -> None:
        print(live_suite.plan(options, stream, rate, cap_mb), file=sys.stderr)
        if not yes and not typer.confirm("Go on?", err=True):
            raise BenchmarkError("nothing was sent")
        live_suite.live(options, stream, rate, cap_mb, console)

    _run(agreed)


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


@app.command()
def group_drill(
    rate: Annotated[
        int | None, typer.Option(min=1, help="Records a second; 20000, or 2000 with --quick.")
    ] = None,
    json: Json = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="In half a minute: slower, and with shorter times.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Keep the server's data folder and the logs here."),
    ] = None,
) -> None:
    """Kill, stop and scale under a group of four processes; see that its promises hold.

    The last line printed is one line of JSON. The exit status is 1 if a record was
    never handled, if two members handled records of one partition at once, or if a
    record came again that was committed.
    """
    plan = group_drill_flow.QUICK if quick else group_drill_flow.LONG
    raise typer.Exit(group_drill_flow.main(plan._replace(rate=rate or plan.rate), json, keep))


def _run(suite: Callable[[Console], None]) -> None:
    """Run a suite; a user's mistake is one line, not a traceback."""
    try:
        console = Console()
        suite(console if console.is_terminal else Console(width=100))
    except BenchmarkError as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
