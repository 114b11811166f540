"""A program: the embedded DIS on a data folder, with faults that a seed chooses."""

import asyncio
import json
import signal
import sys

from aiodis.server import LocalDIS
from aiodis.server.faults import (
    Faults,
    garbage_json,
    gateway_page,
    hang,
    http_status,
    latency,
    reset,
    reset_after,
    reset_before,
    truncated,
)

WRITES = ("records.put", "checkpoints.commit")
READS = ("records.get", "records.get_cursor", "checkpoints.get", "groups.*")


def add_faults(faults: Faults, seed: int) -> None:
    """Let some of all calls be slow, and some break, before or after they were carried out."""
    for operation in WRITES:
        for phase in ("before", "after"):
            own = 2 * seed + (phase == "after")  # the phase is no part of what a rule draws from
            pause = latency(ms=10, jitter_ms=10)
            faults.rule(operation, outcome=pause, rate=0.2, seed=own, phase=phase)
            for outcome in (reset(), http_status(500), gateway_page(502), garbage_json()):
                faults.rule(operation, outcome=outcome, rate=0.01, seed=own, phase=phase)
        for outcome in (reset_before(), reset_after(bytes=40), truncated(), http_status(503)):
            faults.rule(operation, outcome=outcome, rate=0.01, seed=seed)
        faults.rule(operation, outcome=hang(), rate=0.002, seed=seed, phase="after")
    for operation in READS:
        faults.rule(operation, outcome=latency(ms=10, jitter_ms=10), rate=0.1, seed=seed)
        for outcome in (reset(), http_status(500), truncated(), garbage_json()):
            faults.rule(operation, outcome=outcome, rate=0.01, seed=seed)
    faults.partial(code="DIS.4303", rate=0.02, seed=seed)
    faults.partial(code="DIS.5000", rate=0.01, seed=seed)


async def main(settings: dict, seed: int) -> None:
    server = LocalDIS(**settings, limits=False)
    add_faults(server.faults, seed)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with server:
        for line in server.recovery:
            sys.stdout.write(f"aiodis: {line}\n")
        sys.stdout.write(f"aiodis: listening on {server.endpoint}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
