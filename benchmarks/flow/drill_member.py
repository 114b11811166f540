"""A member of the drill's group: handles records and writes down all that it does.

`python -m benchmarks.flow.drill_member STEM SETTINGS`, with the service in the
environment and the settings as JSON. Ends at SIGTERM, as a well-behaved service does.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Collection
from typing import Literal

import msgspec

from aiodis import Consumer, DISClient, DISError, DISGroup, Fence, ReceivedRecord
from aiodis.consumer.coordinator import Coordinator, Seat
from aiodis.record import partition_number
from benchmarks.flow.ledger import RECORD, Ledger, Note, What

__all__ = ["APP", "STREAM", "MemberSettings"]

APP, STREAM = "drill", "drill"


class MemberSettings(msgspec.Struct):
    """How a member takes part: `reads_with` is the way of the consumer that it uses."""

    client_id: str
    heartbeat_interval_ms: int
    rebalance_timeout_ms: int
    breaker_open_ms: int
    reads_with: Literal["run", "async for"]


class _Member:
    """One process. Its checkpoint store is the service, with a note of each call."""

    def __init__(self, dis: DISClient, ledger: Ledger, settings: MemberSettings) -> None:
        self._dis, self._ledger, self._settings = dis, ledger, settings
        self._numbers: dict[str, int] = {}
        self._place: Coordinator | None = None

    def consumer(self) -> Consumer:
        return self._dis.consumer(
            STREAM,
            app=APP,
            group=self._seat,
            checkpoint_store=self,
            offset_reset="earliest",
            rate_limit="off",
            auto_commit_interval_ms=1_000,
            on_assigned=lambda ids: self._note("assigned", ids),
            on_revoked=lambda ids: self._note("gone", ids),
            on_lost=lambda ids: self._note("gone", ids),
        )

    def _seat(self, seat: Seat) -> Coordinator:
        group = DISGroup(
            client_id=self._settings.client_id,
            heartbeat_interval_ms=self._settings.heartbeat_interval_ms,
            rebalance_timeout_ms=self._settings.rebalance_timeout_ms,
        )
        self._place = group(seat)
        return self._place

    # Work

    async def work(self) -> None:
        consumer = self.consumer()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        if self._settings.reads_with == "run":
            await consumer.run(self._handle)
            return
        async with consumer:
            async for record in consumer:
                self._write_down(record)

    async def _handle(self, record: ReceivedRecord) -> None:
        self._write_down(record)

    def _write_down(self, record: ReceivedRecord) -> None:
        pid = record.partition_id
        partition = self._numbers.get(pid)
        if partition is None:
            partition = self._numbers[pid] = partition_number(pid)
        (number,) = RECORD.unpack(record.data)
        self._ledger.handled(partition, number, record.sequence_number, self._generation())

    def _generation(self) -> int:
        fence = self._place.fence() if self._place is not None else None
        return fence.generation_id if fence is not None else -1

    # Positions

    async def load(self, partition_id: str) -> int | None:
        began = time.monotonic_ns()
        found = await self._dis.checkpoints.get(
            app_name=APP, stream_name=STREAM, partition_id=partition_id
        )
        position = found.sequence_number
        self._note("load", [partition_id], position=max(0, position), began_ns=began)
        return position if position >= 0 else None

    async def commit(self, partition_id: str, position: int, fence: Fence | None) -> None:
        assert fence is not None
        began = time.monotonic_ns()
        what: What = "commit"
        try:
            await self._dis.checkpoints.commit(
                app_name=APP,
                stream_name=STREAM,
                partition_id=partition_id,
                sequence_number=str(position),
                client_id=fence.client_id,
                generation_id=fence.generation_id,
            )
        except DISError:
            what = "refused"
            raise
        finally:
            self._note(
                what,
                [partition_id],
                position=position,
                began_ns=began,
                generation=fence.generation_id,
            )

    def _note(
        self,
        what: What,
        partition_ids: Collection[str],
        *,
        position: int = -1,
        began_ns: int = -1,
        generation: int | None = None,
    ) -> None:
        self._ledger.note(
            Note(
                what=what,
                at_ns=time.monotonic_ns(),
                generation=self._generation() if generation is None else generation,
                partitions=sorted(map(partition_number, partition_ids)),
                position=position,
                began_ns=began_ns,
            )
        )


async def _main(stem: str, settings: MemberSettings) -> None:
    async with DISClient.from_env(breaker_open_ms=settings.breaker_open_ms) as dis:
        await _Member(dis, Ledger(stem), settings).work()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(_main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=MemberSettings)))
