"""Positions in a store of the user's own."""

import asyncio
import sqlite3

import pytest
from consuming import P0, P1, consumer_of, filled, numbered, take

from aiodis.config import CheckpointStore
from aiodis.errors import ConfigError

pytestmark = pytest.mark.looptime


class Table:
    """A store in SQLite."""

    def __init__(self):
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE position (partition_id TEXT PRIMARY KEY, number INTEGER)")
        self.fails = 0

    async def load(self, partition_id):
        found = self.db.execute(
            "SELECT number FROM position WHERE partition_id = ?", (partition_id,)
        ).fetchone()
        return found[0] if found else None

    async def commit(self, partition_id, position, fence):
        assert fence is None
        if self.fails:
            self.fails -= 1
            raise sqlite3.OperationalError("locked")
        self.db.execute("INSERT OR REPLACE INTO position VALUES (?, ?)", (partition_id, position))

    def all(self):
        return dict(self.db.execute("SELECT partition_id, number FROM position"))


@pytest.fixture
def table():
    made = Table()
    yield made
    made.db.close()


async def test_positions_are_kept_in_the_users_store_and_not_at_the_service(table):
    service = filled(2, 10)
    async with consumer_of(service, checkpoint_store=table) as consumer:
        await take(consumer, 13)
        await consumer.commit()
        assert sum(table.all().values()) == 13
    assert service.checkpoints == {}
    async with consumer_of(service, checkpoint_store=table) as consumer:
        assert sorted(consumer.position().values()) == [3, 10]


async def test_a_seek_may_take_the_stored_position_back(table):
    async with consumer_of(filled(1, 10), checkpoint_store=table) as consumer:
        await take(consumer, 5)
        await consumer.commit()
        consumer.seek(P0, 0)
        await consumer.commit()
        assert table.all() == {P0: 0}


async def test_a_store_that_fails_is_tried_again(table):
    service = filled(1, 10)
    async with consumer_of(
        service, checkpoint_store=table, auto_commit_interval_ms=1000
    ) as consumer:
        await take(consumer, 5)
        table.fails = 2
        await asyncio.sleep(5)
        assert table.all() == {P0: 4}
        assert consumer.stats().failed_commits == 2
        await take(consumer, 1)
        table.fails = 1
        with pytest.raises(sqlite3.OperationalError):
            await consumer.commit()


async def test_a_store_that_cannot_be_read_ends_the_start(table):
    table.db.execute("DROP TABLE position")
    with pytest.raises(sqlite3.OperationalError):
        await consumer_of(filled(1, 1), checkpoint_store=table).start()


def test_a_store_needs_both_methods(table):
    assert isinstance(table, CheckpointStore)
    with pytest.raises(ConfigError, match="checkpoint_store"):
        consumer_of(filled(1, 1), checkpoint_store=object())


async def test_the_position_of_a_partition_that_was_never_read_is_kept_too(table):
    async with consumer_of(filled(2, 3), checkpoint_store=table, offset_reset="latest"):
        await asyncio.sleep(10)
    assert table.all() == {P0: 3, P1: 3}
    assert numbered(0, 3)
