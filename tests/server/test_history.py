"""The history of minutes: written when they are over, read back as they were."""

import pytest

from aiodis.server.history import History
from aiodis.server.storage.catalog import Catalog, PartitionRow, StreamRow
from aiodis.server.storage.minutes import MinuteTable
from aiodis.server.traffic import MINUTE_MS, Flow, Traffic

NOW = 30_000_000  # a minute of 2027
DAY = 24 * 60


@pytest.fixture
def catalog():
    catalog = Catalog.open(None)
    for name in ("a", "b"):
        row = StreamRow(name, f"id-{name}", 0, 0, "COMMON", "BLOB", 24, (PartitionRow(),))
        catalog.save_stream(row)
    yield catalog
    catalog.close()


@pytest.fixture
def table(catalog):
    return MinuteTable(catalog.connection)


def written(table, stream_id="id-a"):
    return list(table.load(stream_id, 0, NOW * 2))


def test_a_minute_is_written_when_it_is_over_and_not_before(table):
    history = History(table)
    assert history.due_ms() is None
    minute = history.begin("id-a", NOW)
    minute.puts, minute.flows[3].records_in = 1, 5
    assert history.due_ms() == (NOW + 1) * MINUTE_MS
    history.run((NOW + 1) * MINUTE_MS - 1)
    assert written(table) == []
    history.run((NOW + 1) * MINUTE_MS)
    [found] = table.load("id-a", NOW, NOW).values()
    assert (found.puts, found.flows) == (1, {3: Flow(records_in=5)})
    assert history.due_ms() is None


def test_each_minute_is_due_in_its_turn(table):
    history = History(table)
    for number in (NOW + 2, NOW, NOW + 1):
        history.begin("id-a", number).puts = number
    history.run((NOW + 1) * MINUTE_MS)
    assert written(table) == [NOW]
    assert history.due_ms() == (NOW + 2) * MINUTE_MS
    history.run((NOW + 9) * MINUTE_MS)
    assert written(table) == [NOW, NOW + 1, NOW + 2]


def test_a_minute_that_is_counted_into_again_keeps_what_it_had(table):
    history = History(table)
    traffic = Traffic(lambda number: history.begin("id-a", number))
    traffic.at(NOW * MINUTE_MS).flows[0].bytes_in += 1
    history.run((NOW + 1) * MINUTE_MS)
    traffic.at((NOW + 1) * MINUTE_MS).puts += 1
    traffic.at(NOW * MINUTE_MS).flows[0].bytes_in += 2  # the clock went back
    traffic.at(NOW * MINUTE_MS).flows[1].bytes_in += 4
    history.close()
    assert table.load("id-a", NOW, NOW)[NOW].flows == {0: Flow(bytes_in=3), 1: Flow(bytes_in=4)}
    again = History(table).begin("id-a", NOW)
    again.flows[7].bytes_in += 1
    assert [flow.bytes_in for flow in again.flows.values()] == [3, 4, 1]


def test_what_is_in_memory_and_what_is_on_disk_is_told_in_order(table):
    history = History(table)
    for number in (NOW + 1, NOW):
        history.begin("id-a", number)
    history.begin("id-b", NOW)
    history.run((NOW + 1) * MINUTE_MS)
    assert list(history.between("id-a", 0, NOW * 2)) == [NOW, NOW + 1]
    assert list(history.between("id-a", NOW + 1, NOW + 1)) == [NOW + 1]
    assert list(history.between("id-b", 0, NOW)) == [NOW]
    assert history.between("id-c", 0, NOW) == {}


def test_minutes_of_more_than_seven_days_ago_are_removed(table):
    history = History(table)
    for number in (NOW - 7 * DAY - 1, NOW - 7 * DAY, NOW - 1):
        history.begin("id-a", number)
    history.run(NOW * MINUTE_MS)
    assert written(table) == [NOW - 7 * DAY, NOW - 1]


def test_a_stream_that_is_gone_takes_its_minutes_with_it(catalog, table):
    history = History(table)
    history.begin("id-a", NOW)
    history.run((NOW + 1) * MINUTE_MS)
    history.begin("id-a", NOW + 1)
    history.begin("id-b", NOW + 1)
    catalog.remove_stream("id-a", "id-a")
    history.forget("id-a")
    history.close()
    assert written(table) == []
    assert written(table, "id-b") == [NOW + 1]


def test_a_failure_to_write_loses_nothing(catalog, table):
    history = History(table)
    history.begin("id-a", NOW).puts = 7
    history.begin("gone", NOW)
    with pytest.raises(Exception, match="FOREIGN KEY"):
        history.run((NOW + 1) * MINUTE_MS)
    assert written(table) == []
    history.forget("gone")
    history.run((NOW + 1) * MINUTE_MS)
    assert table.load("id-a", NOW, NOW)[NOW].puts == 7


def test_a_row_that_cannot_be_read_costs_its_minute_only(catalog, table):
    history = History(table)
    for number in (NOW, NOW + 1):
        history.begin("id-a", number).puts = 5
    history.close()
    catalog.connection.execute("UPDATE minutes SET counts = x'ff' WHERE number = ?", (NOW,))
    found = History(table).between("id-a", NOW, NOW + 1)
    assert [minute.puts for minute in found.values()] == [0, 5]


def test_what_is_over_is_on_disk_without_a_stop(tmp_path):
    catalog = Catalog.open(tmp_path / "catalog.db")
    catalog.save_stream(StreamRow("a", "id-a", 0, 0, "COMMON", "BLOB", 24, (PartitionRow(),)))
    history = History(MinuteTable(catalog.connection))
    for number in (NOW, NOW + 1):
        history.begin("id-a", number)
    history.run((NOW + 1) * MINUTE_MS)
    another = Catalog.open(tmp_path / "catalog.db")
    assert written(MinuteTable(another.connection)) == [NOW]
    another.close()
    catalog.close()


def test_closing_writes_all_once(table):
    history = History(table)
    history.begin("id-a", NOW)
    history.close()
    history.close()
    assert written(table) == [NOW]
