"""Many clients at once, faults by chance, `kill -9` and restarts: what they saw can have been.

The seed chooses the faults and what the clients do; what comes before what is up to the
machine. So a history that is refused is kept, and its checks can be tried on it again.
"""

import asyncio
import json
import pickle
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from checker import check
from clients import FREE_APP, GROUP_APP, READER_APP, STREAM, Clients
from history import History, Register
from programs import ACCESS_KEY, PROJECT, SECRET_KEY, ServerProcess

from aiodis import DISClient
from aiodis.server import LocalDIS

PARTITIONS = [3, 5, 4, 6]
"""What the stream is scaled to, one after the other."""
QUICK = {"breaker_failures": 10**6, "retry_backoff_ms": 5, "retry_backoff_max_ms": 50}


class FaultyServer(ServerProcess):
    """A server whose faults are others with each start."""

    seed = 0

    @property
    def settings(self) -> dict:
        return {
            "path": str(self.data),
            "port": self.port,
            "project_id": PROJECT,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }

    def command(self) -> list[str]:
        self.seed += 1
        program = Path(__file__).with_name("faulty_server.py")
        return [sys.executable, str(program), json.dumps(self.settings), str(self.seed)]


async def play(folder: Path, *, seed: int, rounds: int, operations: int) -> tuple[History, int]:
    """Let everyone work, kill the server after each round, and give what they wrote down.

    The second value is how many partitions there were.
    """
    server = FaultyServer(folder / "data")
    server.seed = 100 * seed
    async with AsyncExitStack() as stack:
        stack.enter_context(server)
        await asyncio.to_thread(server.start)
        settings = server.client_settings | QUICK
        raw = await stack.enter_async_context(
            DISClient(**settings, retries=0, request_timeout_ms=1_000)
        )
        patient = await stack.enter_async_context(
            DISClient(**settings, request_timeout_ms=1_000, retries=50, retry_budget=1.0)
        )
        await patient.streams.create(stream_name=STREAM, partition_count=PARTITIONS[0])
        for app in (GROUP_APP, FREE_APP, READER_APP):
            await patient.apps.create(app_name=app)
        clients = Clients(raw, patient, PARTITIONS[0], seed)
        working = [
            *(clients.write(f"writer{n}") for n in range(4)),
            *(clients.produce(f"producer{n}") for n in range(2)),
            *(clients.read(f"reader{n}") for n in range(3)),
            *(clients.commit(f"committer{n}") for n in range(4)),
            *(clients.belong(f"member{n}") for n in range(4)),
            clients.consume("consumer"),
        ]
        clients.up.set()
        async with asyncio.TaskGroup() as group:
            for work in working:
                group.create_task(work)
            for number in range(rounds):
                await clients.done(operations)
                while len(generations(clients.history)) <= number:
                    await clients.done(1)
                await asyncio.to_thread(server.kill)
                clients.up.clear()
                await asyncio.to_thread(server.start)
                clients.up.set()
                if number + 1 < len(PARTITIONS):
                    target = PARTITIONS[number + 1]
                    await raw.streams.scale(stream_name=STREAM, target_partition_count=target)
                    clients.partitions = max(clients.partitions, target)
            await clients.done(operations)
            while len(generations(clients.history)) <= rounds or not fences(clients.history):
                await clients.done(1)
            clients.stopping = True
        assert await asyncio.to_thread(server.stop) == 0
        await stack.enter_async_context(LocalDIS(**server.settings, limits=False))
        await clients.read_all("end")
        for register in sorted({commit.register for commit in clients.history.commits}):
            assert await clients.load("end", register)
    return clients.history, clients.partitions


def generations(history: History) -> set[int]:
    return {sync.generation for sync in history.syncs}


def fences(history: History) -> int:
    """Count the commits that were refused for their generation."""
    return sum(commit.code in {"DIS.4702", "DIS.4703"} for commit in history.commits)


async def examine(folder: Path, **plan: int) -> History:
    history, partitions = await play(folder, **plan)
    found = check(history)
    if found:
        (folder / "history.pickle").write_bytes(pickle.dumps(history))
    assert not found, f"{len(found)} in {folder / 'history.pickle'}; the first: {found[:5]}"
    assert set(history.stored) == set(range(partitions))
    # The history is worth something only if all of this happened in it.
    outcomes = Counter(write.outcome for write in history.writes)
    assert all(outcomes[outcome] > 10 for outcome in ("ok", "fail", "ambiguous")), outcomes
    stored = {data for records in history.stored.values() for _, data in records}
    unknown = [write.data in stored for write in history.writes if write.outcome == "ambiguous"]
    assert 0 < sum(unknown) < len(unknown)
    assert fences(history)
    assert len(generations(history)) > plan["rounds"]
    assert {r.client for r in history.reads} >= {"consumer", "reader0", "end"}
    assert {load.register for load in history.loads} >= {Register(FREE_APP, 0)}
    return history


async def test_what_concurrent_clients_see_through_kills_and_faults_can_have_been(tmp_path):
    await examine(tmp_path, seed=1, rounds=2, operations=500)


@pytest.mark.drill
@pytest.mark.parametrize("seed", range(2, 8))
async def test_what_clients_see_through_many_kills_and_faults_can_have_been(tmp_path, seed):
    await examine(tmp_path, seed=seed, rounds=12, operations=4_000)
