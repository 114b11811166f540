"""A producer that always has more to send; as a program, one that tells what it achieved."""

import asyncio
import dataclasses
import json
import sys

from aiodis import Credentials, DISClient, Record
from aiodis.producer import Producer

__all__ = ["send_for_ever", "settings_of"]


def settings_of(size: int) -> dict:
    """Give settings with which some records of that size fill a producer, and the others wait."""
    return {"buffer_memory": 600 * (size + 500), "max_block_ms": 10**9}


async def send_for_ever(producer: Producer, size: int) -> None:
    """Send as fast as the producer takes it."""
    records = [Record(bytes(size), "k")] * 50
    while True:
        await producer.send_many(records)


async def write(client: dict, stream: str, size: int, pauses_s: list[float]) -> list[dict]:
    """Write, and give the counts after each of the pauses."""
    credentials = Credentials.static(*client.pop("credentials"))
    async with DISClient(credentials=credentials, **client) as dis:
        producer = dis.producer(stream, **settings_of(size))
        await producer.start()
        writing = asyncio.create_task(send_for_ever(producer, size))
        counts = []
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            counts.append(dataclasses.asdict(producer.stats()))
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await producer.close(timeout=0)
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(write(**json.loads(sys.argv[1])))))
