"""Traffic: what went through a stream is counted by minute and partition, once and in one place."""

import pytest

from aiodis.api import Records, Streams
from aiodis.server.handlers.records import RecordHandlers
from aiodis.server.handlers.streams import StreamHandlers
from aiodis.server.refusal import Refusal
from aiodis.server.state import State
from aiodis.server.storage.catalog import Catalog
from aiodis.server.traffic import MINUTE_MS, Flow, Traffic
from aiodis.wire.codec import PutBody, PutEntry

NOW_MS = 100 * MINUTE_MS


@pytest.fixture
def state():
    state = State(None, Catalog.open(None), limited=True)
    request = Streams.create.build(stream_name="s", partition_count=2)
    StreamHandlers(state).create(request, NOW_MS)
    yield state
    state.close()


def put(state, data, partition_id, now_ms):
    entries = [PutEntry.of(one, None, partition_id) for one in data]
    return RecordHandlers(state).put(PutBody(stream_name="s", records=entries), now_ms)


def read(state, partition_id, now_ms, **fields):
    records = RecordHandlers(state)
    asked = Records.get_cursor.build(
        stream_name="s", partition_id=partition_id, cursor_type="TRIM_HORIZON"
    )
    cursor = records.get_cursor(asked, now_ms).partition_cursor
    return records.get(Records.get.build(partition_cursor=cursor, **fields), now_ms)


def test_a_minute_ends_at_a_whole_one_of_the_clock():
    traffic = Traffic()
    traffic.at(NOW_MS).puts += 1
    traffic.at(NOW_MS + MINUTE_MS - 1).puts += 1
    traffic.at(NOW_MS + MINUTE_MS).puts += 1
    assert traffic.minute(NOW_MS).puts == 2
    assert traffic.minute(NOW_MS + MINUTE_MS).puts == 1
    assert traffic.minute(NOW_MS - MINUTE_MS) is None


def test_a_clock_that_went_back_counts_into_the_minute_it_shows():
    traffic = Traffic()
    traffic.at(NOW_MS).puts += 1
    traffic.at(NOW_MS + MINUTE_MS).puts += 1
    traffic.at(NOW_MS + 5).puts += 1
    assert traffic.minute(NOW_MS).puts == 2


def test_an_hours_worth_of_minutes_is_kept():
    traffic = Traffic()
    for minute in range(100):
        traffic.at(minute * MINUTE_MS).puts += 1
    kept = [minute for minute in range(100) if traffic.minute(minute * MINUTE_MS)]
    assert kept == list(range(40, 100))


def test_puts_and_reads_are_counted_for_their_partitions(state):
    put(state, [b"12345", b"123"], "1", NOW_MS)
    put(state, [b"1"], "0", NOW_MS)
    read(state, "1", NOW_MS)
    read(state, "1", NOW_MS, max_fetch_bytes=5)
    minute = state.find("s", NOW_MS).traffic.minute(NOW_MS)
    assert minute.flows == {
        0: Flow(records_in=1, bytes_in=1),
        1: Flow(records_in=2, bytes_in=8, records_out=3, bytes_out=13),
    }
    assert (minute.puts, minute.gets) == (2, 2)
    assert (minute.puts_throttled, minute.gets_throttled) == (0, 0)


def test_what_the_limits_refuse_is_counted_apart(state):
    put(state, [b"1"] * 1002, "0", NOW_MS)
    put(state, [b"1"] * 3, "0", NOW_MS)
    for second in (1, 2, 3):
        put(state, [bytes(2**20 - 5)], "1", NOW_MS + second * 1000)
    read(state, "1", NOW_MS + 3000, max_fetch_bytes=3 * 2**20)
    with pytest.raises(Refusal):
        read(state, "1", NOW_MS + 3000)
    minute = state.find("s", NOW_MS).traffic.minute(NOW_MS)
    assert minute.flows[0] == Flow(records_in=1000, bytes_in=1000, throttled_in=5)
    assert (minute.flows[1].records_out, minute.flows[1].throttled_out) == (3, 1)
    assert (minute.puts, minute.puts_throttled) == (3, 2)
    assert (minute.gets, minute.gets_throttled) == (1, 1)
