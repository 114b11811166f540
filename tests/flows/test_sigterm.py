"""SIGTERM to a process that reads: the record in hand is done and committed, then it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import ACCESS_KEY, PROJECT, SECRET_KEY, ServerProcess

from aiodis import DISClient

SCRIPT = Path(__file__).parents[1] / "support" / "tidy_reader.py"


async def fill(server: ServerProcess, records: int) -> None:
    async with DISClient(**server.client_settings) as dis:
        await dis.streams.create(stream_name="events", partition_count=1)
        async with dis.producer("events") as producer:
            for number in range(records):
                await producer.send(b"%d" % number, partition_key="k")


async def committed(server: ServerProcess) -> int:
    async with DISClient(**server.client_settings) as dis:
        answer = await dis.checkpoints.get(
            app_name="billing", stream_name="events", partition_id="0"
        )
        return answer.sequence_number


def begin(server: ServerProcess, way: str, work_s: float) -> subprocess.Popen:
    client = {
        "endpoint": f"http://127.0.0.1:{server.port}",
        "project_id": PROJECT,
        "credentials": [ACCESS_KEY, SECRET_KEY],
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(client), way, str(work_s)],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen, line: str) -> None:
    while (said := process.stdout.readline().strip()) != line:
        assert said, "it ended before"


def ends_within(process: subprocess.Popen, seconds: float) -> list[str]:
    begun = time.monotonic()
    said = process.communicate(timeout=30)[0].split("\n")
    assert time.monotonic() - begun < seconds
    assert process.returncode == 0
    return said


@pytest.mark.parametrize("way", ["loop", "partition", "key"])
async def test_sigterm_finishes_and_commits_the_record_in_hand_and_ends(tmp_path, way):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        await fill(server, 10)
        with begin(server, way, 0.5) as process:
            wait_for(process, "begun 2")
            process.send_signal(signal.SIGTERM)
            said = ends_within(process, 10)
        assert said == ["done 2", "closed", ""]
        assert await committed(server) == 3


@pytest.mark.parametrize("way", ["loop", "partition"])
async def test_sigterm_ends_it_in_its_time_while_the_service_is_down(tmp_path, way):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        await fill(server, 10)
        with begin(server, way, 0.5) as process:
            wait_for(process, "begun 2")
            server.kill()
            process.send_signal(signal.SIGTERM)
            said = ends_within(process, 10)
        assert said == ["done 2", "closed", ""]
        server.start()
        assert await committed(server) <= 3
        with begin(server, way, 0.01) as process:  # and nothing is lost
            wait_for(process, "done 9")
            process.send_signal(signal.SIGTERM)
            ends_within(process, 10)
        assert await committed(server) == 10
