"""The page that shows what is inside: one file of HTML, which loads nothing and runs nothing."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from aiodis.server.admin.admin import Admin
from aiodis.server.overview import AppView, Overview, StreamView

__all__ = ["page"]

_SHOWN_REQUESTS: Final = 50

_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
h1, h2, h3 { font-weight: 600 } h2 { margin-top: 2em; border-bottom: 1px solid #8886 }
table { border-collapse: collapse; margin: .5em 0 1.5em; display: block; overflow-x: auto }
th, td { padding: .15em .8em .15em 0; text-align: left; white-space: nowrap }
th { font-weight: 600; opacity: .7 } td.n { text-align: right; font-variant-numeric: tabular-nums }
.bad { color: #c33 } .dim { opacity: .6 }
"""


def page(admin: Admin) -> str:
    """Write the page for now."""
    server, projects = admin.server, admin.projects
    overviews = projects.overview(admin.now_ms) if projects else []
    time = _time(admin.now_ms)
    body = [
        "<h1>aiodis: the embedded DIS</h1>",
        f"<p>{escape(repr(server))}<br>It is {time} by {escape(repr(server.clock))}.</p>",
        *(part for overview in overviews for part in _project(overview)),
        "<h2>Faults on purpose</h2>",
        _faults(admin),
        f"<h2>The last {_SHOWN_REQUESTS} requests</h2>",
        _requests(admin),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>aiodis</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _project(overview: Overview) -> Iterable[str]:
    yield f"<h2>Project {escape(overview.project_id)}</h2>"
    if not overview.streams:
        yield '<p class="dim">No streams.</p>'
    for stream in overview.streams:
        yield from _stream(stream)
    for app in overview.apps:
        yield from _app(app)


def _stream(stream: StreamView) -> Iterable[str]:
    yield f"<h3>Stream {escape(stream.name)}</h3>"
    yield (
        f"<p>{stream.status}, {escape(stream.stream_type)}, made {_time(stream.created_ms)},"
        f" keeps {stream.retention_hours} h, {stream.log_bytes:,} bytes of log,"
        f' id <span class="dim">{escape(stream.stream_id)}</span></p>'
    )
    heads = (
        "partition",
        "status",
        "oldest",
        "next",
        "records/min in",
        "bytes/min in",
        "out",
        "bytes",
    )
    yield _table(
        (*heads, "throttled"),
        [
            (
                partition.name,
                partition.status,
                partition.oldest,
                partition.following,
                partition.flow.records_in,
                partition.flow.bytes_in,
                partition.flow.records_out,
                partition.flow.bytes_out,
                partition.flow.throttled_in + partition.flow.throttled_out,
            )
            for partition in stream.partitions
        ],
    )


def _app(app: AppView) -> Iterable[str]:
    yield f"<h3>App {escape(app.name)}</h3>"
    if app.checkpoints:
        rows = [(c.stream, c.partition, c.sequence, c.following) for c in app.checkpoints]
        yield _table(("stream", "partition", "checkpoint", "next"), rows)
    else:
        yield '<p class="dim">No checkpoints.</p>'
    if app.members:
        yield f"<p>Group, generation {app.generation}:</p>"
        members = [(name, ", ".join(partitions)) for name, partitions in app.members]
        yield _table(("member", "partitions"), members)


def _faults(admin: Admin) -> str:
    waiting = list(admin.server.faults)
    counts = [(operation, name, n) for (operation, name), n in admin.server.faults.counts.items()]
    if not (waiting or counts):
        return '<p class="dim">None.</p>'
    rows = [
        (f.aim.operation, f.name, f.aim.stream, f.aim.partition, f.aim.project, f.count, f.left)
        for f in waiting
    ]
    heads = "operation", "fault", "stream", "partition", "project", "came", "left"
    return _table(heads, rows) + _table(("operation", "what came", "times"), counts)


def _requests(admin: Admin) -> str:
    found = list(admin.server.requests)[: -_SHOWN_REQUESTS - 1 : -1]
    if not found:
        return '<p class="dim">None.</p>'
    heads = "#", "time", "operation", "stream", "partitions", "status", "error", "faults", "records"
    return _table(
        (*heads, "bytes in", "out", "ms"),
        [
            (
                seen.number,
                _time(seen.at_ms),
                seen.operation or f"{seen.method} {seen.path}",
                seen.stream,
                ", ".join(map(str, seen.partitions)),
                seen.status or "no answer",
                seen.error,
                ", ".join(seen.faults),
                seen.records,
                seen.bytes_in,
                seen.bytes_out,
                f"{seen.duration_ms:.1f}",
            )
            for seen in found
        ],
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if rows else ""


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
