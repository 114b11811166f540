"""Clients that work on one stream and write down what they asked and were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from history import Commit, History, Load, Outcome, Read, Register, Sync, Write

from aiodis import DISClient, Record
from aiodis.errors import DecodeError, DISError, RecordError, ServiceError
from aiodis.record import partition_name, partition_number
from aiodis.transport.retry import may_have_been_carried_out

__all__ = ["FREE_APP", "GROUP_APP", "READER_APP", "STREAM", "Clients"]

STREAM = "events"
GROUP_APP, FREE_APP, READER_APP = "grouped", "free", "reader"
FREE_PARTITIONS = 2
WINDOW_MS = 120
"""How long the members of the group have for joining again."""
PAUSE_S = 0.01

T = TypeVar("T")


class Clients:
    """All clients of a history. They end after the operation in hand once `stopping` is set.

    After a failure they wait while `up` is not set.

    `raw` repeats nothing by itself, so that each of its calls is one operation. `patient`
    is what producer and consumer work with.
    """

    def __init__(self, raw: DISClient, patient: DISClient, partitions: int, seed: int) -> None:
        self.raw, self.patient, self.partitions = raw, patient, partitions
        self.history = History()
        self.stopping = False
        self.up = asyncio.Event()
        self._seed = seed
        self._numbers = count()
        self._done = asyncio.Semaphore(0)

    async def done(self, operations: int) -> None:
        """Wait until so many more operations have ended, but for those that failed."""
        for _ in range(operations):
            await self._done.acquire()

    async def write(self, name: str) -> None:
        """Put a few records at a time, by partition and by key."""
        chance = self._chance(name)
        while not self.stopping:
            records = [
                Record(self._unique(name).encode(), **self._aim(chance))
                for _ in range(chance.randint(1, 6))
            ]
            invoked = _now()
            try:
                reply = await self.raw.records.put(stream_name=STREAM, records=records)
            except DISError as exc:
                for record in records:
                    self._wrote(name, invoked, record.data, _outcome(exc))
                await self._pause()
                continue
            for record, result in zip(records, reply.records, strict=True):
                if result.error_code:
                    self._wrote(name, invoked, record.data, "fail")
                else:
                    place = partition_number(result.partition_id), int(result.sequence_number)
                    self._wrote(name, invoked, record.data, "ok", *place)

    async def produce(self, name: str) -> None:
        """Send through a producer, which repeats what fails."""
        chance = self._chance(name)
        async with self.patient.producer(
            STREAM, rate_limit="off", linger_ms=2, retry_backoff_max_ms=100
        ) as producer:
            receipts = []
            while not self.stopping:
                data, invoked = self._unique(name).encode(), _now()
                receipt = await producer.send(data, **self._aim(chance))
                receipt.add_done_callback(self._on_receipt(name, invoked, data))
                receipts.append(receipt)
                await asyncio.sleep(0.004)
            await producer.flush(30)
            await asyncio.gather(*receipts, return_exceptions=True)

    async def read(self, name: str) -> None:
        """Read from any place on, in pieces of any size, with the cursors that answers bring."""
        chance = self._chance(name)
        positions: Counter[int] = Counter()
        while not self.stopping:
            partition = chance.randrange(self.partitions)
            position = chance.randint(0, positions[partition])
            cursor = await self._cursor(chance, partition, position)
            for _ in range(chance.randint(1, 5)):
                size = chance.choice([100, 1_000, 100_000])
                read = await self._read(name, cursor, partition, position, size)
                if read is None:
                    await self._pause()
                    break
                cursor, position = read
                positions[partition] = max(position, positions[partition])

    async def consume(self, name: str) -> None:
        """Read through a consumer, from the first record on."""
        positions: dict[int, int] = {}
        async with self.patient.consumer(
            STREAM, app=READER_APP, offset_reset="earliest", partition_refresh_ms=500
        ) as consumer:
            while not self.stopping:
                invoked = _now()
                for batch in await consumer.getmany(max_records=200, timeout=0.1):
                    partition = partition_number(batch.partition_id)
                    placed = tuple((r.sequence_number, r.data) for r in batch.records)
                    position = positions.get(partition, 0)
                    self._ended(
                        self.history.reads,
                        Read(name, invoked, _now(), partition, position, placed),
                    )
                    positions[partition] = position + len(placed)

    async def commit(self, name: str) -> None:
        """Commit and load checkpoints that nobody guards."""
        chance = self._chance(name)
        while not self.stopping:
            register = Register(FREE_APP, chance.randrange(FREE_PARTITIONS))
            work = self._commit if chance.random() < 0.6 else self.load
            if await work(name, register) is None:
                await self._pause()

    async def belong(self, name: str) -> None:
        """Be a member of a group: join, sync, commit; now and then leave, or overstay."""
        chance = self._chance(name)
        before: Sync | None = None
        for turn in count():
            if self.stopping:
                return
            # Now a new member, now the same one again.
            client_id = f"{name}-{turn // 3}"
            synced = await self._settle(client_id)
            if synced is None:
                await self._pause()
                continue
            if before is not None and before.client == client_id:
                await self._overstay(client_id, before, chance)  # a twin that missed something
            before = synced
            await self._work(client_id, synced, chance)
            if chance.random() < 0.3:
                leaving = self.raw.groups.leave(app_name=GROUP_APP, client_id=client_id)
                await self._try(leaving)
                await self._overstay(client_id, synced, chance)

    async def load(self, name: str, register: Register) -> bool | None:
        """Load a checkpoint; None if that failed."""
        invoked = _now()
        reply = await self._try(
            self.raw.checkpoints.get(
                app_name=register.app, stream_name=STREAM, partition_id=str(register.partition)
            )
        )
        if reply is None:
            return None
        self._ended(
            self.history.loads, Load(name, invoked, _now(), register, reply.metadata or None)
        )
        return True

    async def read_all(self, name: str) -> None:
        """Read every partition to its end: what is `stored`."""
        for partition in range(self.partitions):
            stored = self.history.stored.setdefault(partition, [])
            cursor = await self._cursor(random.Random(0), partition, 0)
            while True:
                read = await self._read(name, cursor, partition, len(stored), 1_000_000)
                assert read is not None
                cursor, position = read
                if position == len(stored):
                    break
                stored += self.history.reads[-1].records

    # What the clients do it with

    def _aim(self, chance: random.Random) -> dict[str, str]:
        if chance.random() < 0.7:
            return {"partition_id": str(chance.randrange(self.partitions))}
        return {"partition_key": f"k{chance.randrange(20)}"}

    async def _cursor(self, chance: random.Random, partition: int, position: int) -> str | None:
        """Take a cursor to a position, of any type that leads there; None if that failed."""
        number, kind = position, "AT_SEQUENCE_NUMBER"
        if chance.random() < 0.5:
            number, kind = (
                (position - 1, "AFTER_SEQUENCE_NUMBER") if position else (0, "TRIM_HORIZON")
            )
        found = await self._try(
            self.raw.records.get_cursor(
                stream_name=STREAM,
                partition_id=partition_name(partition),
                cursor_type=kind,
                starting_sequence_number=str(number),
            )
        )
        return found and found.partition_cursor

    async def _read(
        self, name: str, cursor: str | None, partition: int, position: int, size: int
    ) -> tuple[str, int] | None:
        """Read once; give the next cursor and its position, or None if that failed."""
        if cursor is None:
            return None
        invoked = _now()
        reply = await self._try(self.raw.records.get(partition_cursor=cursor, max_fetch_bytes=size))
        if reply is None:
            return None
        placed = tuple((r.sequence_number, r.data) for r in reply.records)
        self._ended(self.history.reads, Read(name, invoked, _now(), partition, position, placed))
        return reply.next_partition_cursor, position + len(placed)

    async def _commit(
        self, name: str, register: Register, generation: int | None = None
    ) -> bool | None:
        """Commit once; None if it was not taken for certain."""
        value, invoked = self._unique(name), _now()
        outcome: Outcome = "ok"
        code = None
        try:
            await self.raw.checkpoints.commit(
                app_name=register.app,
                stream_name=STREAM,
                partition_id=str(register.partition),
                sequence_number=str(next(self._numbers)),
                metadata=value,
                client_id=None if generation is None else name,
                generation_id=generation,
            )
        except DISError as exc:
            outcome = _outcome(exc)
            code = exc.code if isinstance(exc, ServiceError) and outcome == "fail" else None
        self._ended(
            self.history.commits,
            Commit(name, invoked, _now(), register, value, outcome, generation, code),
        )
        return True if outcome == "ok" else None

    async def _settle(self, client_id: str) -> Sync | None:
        """Join, and sync until there is a generation; None if that failed."""
        member = {"app_name": GROUP_APP, "client_id": client_id}
        joined = await self._try(
            self.raw.groups.join(**member, stream_names=[STREAM], rebalance_timeout_ms=WINDOW_MS)
        )
        while joined is not None and not self.stopping:
            invoked = _now()
            reply = await self._try(self.raw.groups.sync(**member))
            if reply is None or reply.state == "REJOIN":
                return None
            if reply.state == "OK":
                own = frozenset(reply.assignment.get(STREAM, ()))
                sync = Sync(client_id, invoked, _now(), GROUP_APP, reply.generation, own)
                self._ended(self.history.syncs, sync)
                return sync
            await self._pause()
        return None

    async def _work(self, client_id: str, synced: Sync, chance: random.Random) -> None:
        """Commit for a while, until the group has something else to do; or longer than that."""
        for _ in range(chance.randint(3, 15)):
            if self.stopping or not synced.partitions:
                return
            register = Register(GROUP_APP, chance.choice(sorted(synced.partitions)))
            if await self._commit(client_id, register, synced.generation) is None:
                await self._pause()
            await self.load(client_id, register)
            state = await self._try(
                self.raw.groups.heartbeat(
                    app_name=GROUP_APP, client_id=client_id, generation=synced.generation
                )
            )
            if state is not None and state.state != "STABLE":
                if chance.random() < 0.5:
                    await asyncio.sleep(1.5 * WINDOW_MS / 1000)  # asleep, as a stopped process
                    await self._overstay(client_id, synced, chance)
                return

    async def _overstay(self, client_id: str, synced: Sync, chance: random.Random) -> None:
        """Commit as if nothing had happened."""
        for partition in synced.partitions:
            for _ in range(chance.randint(1, 2)):
                register = Register(GROUP_APP, partition)
                await self._commit(client_id, register, synced.generation)
                await self.load(client_id, register)

    async def _pause(self) -> None:
        """Wait a little, and until there is a server."""
        await asyncio.sleep(PAUSE_S)
        await self.up.wait()

    async def _try(self, call: Awaitable[T]) -> T | None:
        """Call for something that is no matter if it fails."""
        try:
            return await call
        except DISError:
            return None

    def _on_receipt(self, name: str, invoked: int, data: bytes) -> Callable[..., None]:
        def note(receipt: asyncio.Future) -> None:
            match receipt.exception():
                case None:
                    found = receipt.result()
                    place = partition_number(found.partition_id), found.sequence_number
                    self._wrote(name, invoked, data, "ok", *place, tries=found.attempts)
                case RecordError(ambiguous=True):
                    self._wrote(name, invoked, data, "ambiguous", tries=10**9)
                case _:
                    self._wrote(name, invoked, data, "fail")

        return note

    def _wrote(self, name: str, invoked: int, data: bytes, outcome: Outcome, *place, tries=1):
        write = Write(name, invoked, _now(), data, outcome, *place, tries=tries)
        self._ended(self.history.writes, write)

    def _ended(self, operations: list[T], operation: T) -> None:
        operations.append(operation)
        if getattr(operation, "outcome", "ok") != "fail":
            self._done.release()

    def _unique(self, name: str) -> str:
        return f"{name}.{next(self._numbers)}"

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")


def _now() -> int:
    return time.monotonic_ns()


def _outcome(exc: DISError) -> Outcome:
    """Say what aiodis knows of a write that failed: that is put to the test as well."""
    if isinstance(exc, DecodeError) or may_have_been_carried_out("POST", exc):
        return "ambiguous"
    return "fail"
