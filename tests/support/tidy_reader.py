"""A program that reads until SIGTERM: it prints what it begins and what it has done."""

import asyncio
import json
import signal
import sys

from aiodis import Credentials, DISClient


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(client: dict, way: str, work_s: float) -> None:
    credentials = Credentials.static(*client.pop("credentials"))

    async def work(record) -> None:
        say(f"begun {record.sequence_number}")
        await asyncio.sleep(work_s)
        say(f"done {record.sequence_number}")

    async with (
        DISClient(credentials=credentials, **client) as dis,
        dis.consumer(
            "events", app="billing", offset_reset="earliest", close_timeout_ms=3_000
        ) as consumer,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        if way == "loop":
            async for record in consumer:
                await work(record)
        else:
            await consumer.run(work, concurrency_by=way)
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
