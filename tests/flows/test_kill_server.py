"""`kill -9` of the server in the middle of a load: what was acknowledged is there."""

import asyncio
from collections import Counter

import pytest
from programs import ServerProcess

from aiodis import DISClient, RecordMetadata


async def read_all(dis: DISClient, stream: str) -> dict[str, list[bytes]]:
    """Read every partition with the plain calls; sequence numbers must be dense."""
    found: dict[str, list[bytes]] = {}
    for partition in (await dis.streams.describe_all(stream)).partitions:
        data = found[partition.partition_id] = []
        cursor = (
            await dis.records.get_cursor(
                stream_name=stream,
                partition_id=partition.partition_id,
                cursor_type="TRIM_HORIZON",
            )
        ).partition_cursor
        while True:
            reply = await dis.records.get(partition_cursor=cursor)
            if not reply.records:
                break
            for record in reply.records:
                assert record.sequence_number == len(data)
                data.append(record.data)
            cursor = reply.next_partition_cursor
    return found


async def kill_under_load(tmp_path, rounds: int) -> None:
    with ServerProcess(tmp_path / "data", "--no-limits") as server:
        server.start()
        async with DISClient(**server.client_settings, retry_backoff_max_ms=500) as dis:
            await dis.streams.create(stream_name="events", partition_count=4)
            receipts: list[tuple[bytes, asyncio.Future[RecordMetadata]]] = []
            delivered = asyncio.Semaphore(0)

            async def load(producer) -> None:
                for number in range(10**9):
                    data = b"%d" % number
                    receipt = await producer.send(data, partition_key=f"k{number % 50}")
                    receipt.add_done_callback(lambda _: delivered.release())
                    receipts.append((data, receipt))
                    if number % 20 == 0:
                        await asyncio.sleep(0)

            async with dis.producer(
                "events", rate_limit="off", buffer_memory=20_000, linger_ms=1
            ) as producer:
                loading = asyncio.create_task(load(producer))
                for _ in range(rounds):
                    for _ in range(2_000):
                        await delivered.acquire()
                    server.kill()
                    server.start()
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
                report = await producer.flush(60)
                assert report.pending == 0
            stored = await read_all(dis, "events")
            assert server.stop() == 0

    copies = Counter(data for partition in stored.values() for data in partition)
    assert report.failed == 0
    for data, receipt in receipts:
        metadata = receipt.result()
        assert stored[metadata.partition_id][metadata.sequence_number] == data
        if metadata.attempts == 1:
            assert copies[data] == 1
    assert set(copies) == {data for data, _ in receipts}


async def test_a_killed_server_loses_no_acknowledged_record(tmp_path):
    await kill_under_load(tmp_path, rounds=4)


@pytest.mark.drill
async def test_a_server_killed_many_times_loses_no_acknowledged_record(tmp_path):
    await kill_under_load(tmp_path, rounds=60)


async def test_a_torn_tail_is_repaired_at_the_start_and_said(tmp_path):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        async with DISClient(**server.client_settings) as dis:
            await dis.streams.create(stream_name="events", partition_count=1)
            async with dis.producer("events") as producer:
                for i in range(5):
                    await producer.send_and_wait(b"%d" % i, partition_key="k")
            server.kill()
            log = max((tmp_path / "data").rglob("*.log"), key=lambda path: path.stat().st_mtime)
            with log.open("ab") as file:
                file.write(b"\xff torn in the middle of a write")
            server.start()
            assert any("cut" in line for line in server.said), server.said
            assert list((await read_all(dis, "events")).values()) == [
                [b"0", b"1", b"2", b"3", b"4"]
            ]
