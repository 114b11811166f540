"""Several consumers of one group over sockets: they join, leave, crash, and meet a scaling."""

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from aiodis import DISClient, DISGroup, FencedError
from aiodis.clock import SYSTEM_CLOCK
from aiodis.record import partition_number
from aiodis.server import LocalDIS, ManualClock

APP, STREAM = "billing", "events"
GROUP = {"heartbeat_interval_ms": 250, "rebalance_timeout_ms": 2_000}


class RunningClock(ManualClock):
    """The real time, which can be moved forward as well."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def now_ms(self) -> int:
        return super().now_ms() + round((time.monotonic() - self._begun) * 1000)


def client_of(server: LocalDIS) -> DISClient:
    """Give a client by the system's time: a `RunningClock` is the server's alone."""
    return DISClient(**server.client_settings | {"clock": SYSTEM_CLOCK})


class Worker:
    """A client of its own with a consumer in the group, as another machine would have."""

    def __init__(self, server: LocalDIS, name: str) -> None:
        self.name = name
        self.client = client_of(server)
        self.got: list[tuple[int, bytes]] = []
        self.mine: set[int] = set()
        self.consumer = self.client.consumer(
            STREAM,
            app=APP,
            group=DISGroup(client_id=name, **GROUP),
            offset_reset="earliest",
            poll_min_ms=10,
            poll_max_ms=50,
            auto_commit_interval_ms=100,
            on_assigned=lambda ids: self.mine.update(map(partition_number, ids)),
            on_revoked=self._gone,
            on_lost=self._gone,
        )
        self.task = asyncio.create_task(self.consumer.run(self._handle))

    async def _handle(self, record):
        self.got.append((partition_number(record.partition_id), record.data))

    def _gone(self, partition_ids):
        self.mine.difference_update(map(partition_number, partition_ids))

    @property
    def confirmed_until(self) -> float:
        return self.consumer._coordinator._member.held_until

    async def leave(self):
        await self.consumer.close()
        await self.task
        await self.client.close()

    async def crash(self):
        """Lose the way to the service for ever: nothing can be committed, no leave be sent."""
        await self.client._exchange.close()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.client.close()


async def until(claim) -> None:
    async with asyncio.timeout(30):
        while not claim():  # noqa: ASYNC110 - of several consumers and a server, no event tells
            await asyncio.sleep(0.02)


def shared_among(workers, partitions: int):
    """The claim that each partition is one worker's, in fair parts."""

    def claim() -> bool:
        owned = sorted(n for worker in workers for n in worker.mine)
        parts = [len(worker.mine) for worker in workers]
        return owned == list(range(partitions)) and max(parts) - min(parts) <= 1

    return claim


@pytest.fixture
async def clock():
    return RunningClock()


@pytest.fixture
async def dis(clock):
    async with (
        LocalDIS(clock=clock, limits=False) as server,
        client_of(server) as client,
    ):
        await client.streams.create(stream_name=STREAM, partition_count=4)
        client.server = server
        yield client


async def test_members_come_go_crash_and_scale_and_no_record_is_left_out(dis, clock):
    sent: list[bytes] = []
    workers: list[Worker] = []
    everybody: list[Worker] = []

    def start(*names):
        new = [Worker(dis.server, name) for name in names]
        workers.extend(new)
        everybody.extend(new)
        return new

    async def send(count=200):
        async with dis.producer(STREAM, linger_ms=5) as producer:
            for number in range(len(sent), len(sent) + count):
                sent.append(b"%d" % number)
                await producer.send(sent[-1], partition_key=str(number))

    def handled():
        return Counter(data for worker in everybody for _, data in worker.got)

    def all_handled():
        return set(handled()) >= set(sent)

    start("a", "b")
    await until(shared_among(workers, 4))
    await send()
    await until(all_handled)
    assert all(worker.got for worker in workers)

    [c] = start("c")  # one more joins
    await until(shared_among(workers, 4))
    await send()
    await until(all_handled)
    assert c.got

    b = workers.pop(1)  # one leaves in peace
    await b.leave()
    assert b.mine == set()
    await until(shared_among(workers, 4))
    await send()
    await until(all_handled)
    assert set(handled().values()) == {1}  # so far nothing came twice

    workers.remove(c)  # one crashes
    await c.crash()
    [a] = workers
    for _ in range(4):
        before = a.confirmed_until
        clock.advance(seconds=20)
        await until(lambda before=before: a.confirmed_until != before)
    await until(shared_among([a], 4))
    await send()
    await until(all_handled)

    start("d")  # and the stream grows
    await dis.streams.scale(stream_name=STREAM, target_partition_count=6)
    await until(shared_among(workers, 6))
    await send()
    await until(all_handled)
    for worker in workers:
        await worker.leave()

    for partition in range(6):  # in order, whoever read it
        first_seen = dict.fromkeys(
            int(data) for worker in everybody for n, data in worker.got if n == partition
        )
        of_one = [[int(data) for n, data in worker.got if n == partition] for worker in everybody]
        assert all(numbers == sorted(numbers) for numbers in of_one if numbers)
        assert first_seen


async def test_a_zombie_can_neither_stay_nor_commit(dis):
    await dis.apps.create(app_name=APP)
    who = {"app_name": APP, "client_id": "zombie"}
    found = await dis.groups.join(
        **who, stream_names=[STREAM], accelerate=True, rebalance_timeout_ms=500
    )
    assert (found.state, found.sync_delay_ms) == ("OK", 0)
    synced = await dis.groups.sync(**who)
    assert synced.assignment == {STREAM: [0, 1, 2, 3]}
    beat = await dis.groups.heartbeat(**who, generation=synced.generation)
    assert beat.state == "STABLE"
    commit = {
        "app_name": APP,
        "stream_name": STREAM,
        "partition_id": "0",
        "client_id": "zombie",
        "generation_id": synced.generation,
    }
    await dis.checkpoints.commit(**commit, sequence_number="0")

    # It is stopped, and another member comes.
    worker = Worker(dis.server, "alive")
    await until(shared_among([worker], 4))
    with pytest.raises(FencedError):
        await dis.checkpoints.commit(**commit, sequence_number="100")
    beat = await dis.groups.heartbeat(**who, generation=synced.generation)
    assert beat.state == "JOINING"
    held = await dis.checkpoints.get(app_name=APP, stream_name=STREAM, partition_id="0")
    assert held.sequence_number == 0
    await worker.leave()
