"""A filled service, a consumer of it, and ways to read."""

import asyncio

from scripted_service import ScriptedService

from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer

MIB = 1024 * 1024
P0, P1, P2 = "shardId-0000000000", "shardId-0000000001", "shardId-0000000002"


def consumer_of(service, **settings) -> Consumer:
    settings = {"app": "billing", "offset_reset": "earliest", **settings}
    return Consumer(service, "events", ConsumerSettings(**settings))


def filled(partitions: int = 2, records: int = 10) -> ScriptedService:
    service = ScriptedService(partitions)
    for n in range(partitions):
        service.add(n, *numbered(n, records))
    return service


def trimmed() -> ScriptedService:
    """A service whose one partition holds 5 to 8, with a checkpoint at 2."""
    service = ScriptedService(1)
    service.oldest[0] = 5
    service.add(0, *numbered(0, 9, first=5))
    service.checkpoints[P0] = 2
    return service


def numbered(partition: int, end: int, first: int = 0) -> list[bytes]:
    return [b"%d-%d" % (partition, i) for i in range(first, end)]


async def take(consumer: Consumer, count: int) -> list[bytes]:
    taken = []
    async for record in consumer:
        taken.append(record.data)
        if len(taken) == count:
            return taken
    return taken


async def drain(consumer: Consumer, wait: float = 30) -> list[bytes]:
    """Read until nothing comes for a while."""
    taken = []
    while batches := await consumer.getmany(timeout=wait):
        taken += [record.data for batch in batches for record in batch.records]
    return taken


def only(data: list[bytes], partition: int) -> list[bytes]:
    return [item for item in data if item.startswith(b"%d-" % partition)]


def no_task_left() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}
