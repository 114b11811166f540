"""Monitoring: what each operation of the reference's chapter 5.6 does."""

import pytest
from server_caller import START_MS, calling, record

from aiodis.api.metrics import PartitionLabel, StreamLabel
from aiodis.server import ManualClock

START_S = START_MS // 1000
MINUTE_S = START_S // 60 * 60  # when the minute of the start began
WEEK_S = 7 * 24 * 3600
STREAM_LABELS = StreamLabel.__args__
PARTITION_LABELS = PartitionLabel.__args__
PUT_RECORDS, PUT_BYTES = "total_put_records_per_stream", "total_put_bytes_per_stream"


async def ask(dis, *labels, start=START_S - 60, end=START_S + 60, partition=None):
    place = "streams/s" if partition is None else f"streams/s/partitions/{partition}"
    labels = {"label_list": ",".join(labels)} if len(labels) > 1 else {"label": labels[0]}
    asked = {**labels, "start_time": start, "end_time": end}
    found = await dis.call("GET", f"{place}/metrics", asked)
    [series] = [found["metrics"]] if "metrics" in found else [found["metrics_list"]]
    return series


async def values(dis, label, **period):
    series = await ask(dis, label, **period)
    assert series["label"] == label
    return [(point["timestamp"], point["value"]) for point in series["dataPoints"]]


@pytest.fixture
async def stream(dis):
    await dis.create(partitions=2)
    return dis


async def test_every_label_of_a_stream_says_what_went_through_it(stream):
    await stream.put([record(b"12345", partition_id="0"), record(b"1", partition_id="1")])
    await stream.put([record(b"123", partition_id="1")])
    cursor = await stream.cursor(partition_id="1")
    await stream.get(cursor)
    counted = {
        series["label"]: [point["value"] for point in series["dataPoints"]]
        for series in await ask(stream, *STREAM_LABELS)
    }
    latencies = [counted.pop(f"total_{kind}_req_latency") for kind in ("put", "get")]
    assert counted == {
        "total_put_bytes_per_stream": [9],
        "total_get_bytes_per_stream": [4],
        "total_put_records_per_stream": [3],
        "total_get_records_per_stream": [2],
        "total_put_req_suc_per_stream": [2],
        "total_get_req_suc_per_stream": [1],
        "traffic_control_put": [0],
        "traffic_control_get": [0],
    }
    assert all(0 <= latency[0] < 5000 for latency in latencies)


async def test_every_label_of_a_partition_says_what_went_through_it(stream):
    await stream.put([record(b"12345", partition_id="0"), record(b"1", partition_id="1")])
    await stream.get(await stream.cursor(partition_id="1"))
    for partition, expected in [("1", [1, 1, 1, 1]), ("shardId-0000000000", [5, 0, 1, 0])]:
        found = await ask(stream, *PARTITION_LABELS, partition=partition)
        assert [series["dataPoints"][0]["value"] for series in found] == expected
    assert [series["label"] for series in found] == list(PARTITION_LABELS)


async def test_what_flow_control_refuses_is_counted_apart(clock):
    async with calling(clock=clock) as dis:
        await dis.create()
        await dis.put([record(bytes(600_000))])
        await dis.put([record(bytes(600_000))])
        cursor = await dis.cursor()
        for _ in range(4):
            await dis.get(cursor)
        await dis.refused("DIS.4303", "GET", "records", {"partition-cursor": cursor})
        assert await values(dis, "traffic_control_put") == [(MINUTE_S, 1)]
        assert await values(dis, "total_put_req_suc_per_stream") == [(MINUTE_S, 1)]
        assert await values(dis, "traffic_control_get") == [(MINUTE_S, 1)]
        assert await values(dis, "total_get_req_suc_per_stream") == [(MINUTE_S, 4)]
        assert await values(dis, PUT_RECORDS) == [(MINUTE_S, 1)]


async def test_a_point_stands_for_a_minute_in_which_the_stream_was_used(stream, clock):
    for minutes, records in [(0, 1), (1, 2), (5, 3)]:
        clock.advance(minutes=minutes)
        await stream.put([record()] * records)
    period = {"start": START_S, "end": START_S + 600}
    times = [MINUTE_S, MINUTE_S + 60, MINUTE_S + 360]
    assert await values(stream, PUT_RECORDS, **period) == list(zip(times, (1, 2, 3), strict=True))
    # A partition that had nothing has no point, a latency without requests neither.
    assert await values(stream, "total_get_req_latency", **period) == []


async def test_a_period_has_every_minute_that_it_touches(stream, clock):
    for _ in range(4):
        await stream.put([record()])
        clock.advance(minutes=1)
    for start, end, expected in [(59, 59, [0]), (60, 120, [60, 120]), (61, 61, [60])]:
        found = await values(stream, PUT_RECORDS, start=MINUTE_S + start, end=MINUTE_S + end)
        assert [time - MINUTE_S for time, _ in found] == expected


async def test_a_stream_without_traffic_has_a_series_without_points(stream):
    found = await ask(stream, PUT_BYTES)
    assert found == {"label": PUT_BYTES, "dataPoints": []}


async def test_a_list_of_labels_beats_a_label(stream):
    period = {"start_time": START_S, "end_time": START_S}
    asked = {"label": PUT_BYTES, "label_list": f"{PUT_RECORDS}, {PUT_BYTES}", **period}
    found = await stream.call("GET", "streams/s/metrics", asked)
    assert [series["label"] for series in found["metrics_list"]] == [PUT_RECORDS, PUT_BYTES]
    assert "metrics" not in found


async def test_the_older_spelling_of_traffic_control_is_understood(stream):
    asked = {"label": "traffic_controll_put", "start_time": START_S, "end_time": START_S}
    found = await stream.call("GET", "streams/s/metrics", asked)
    assert found["metrics"]["label"] == "traffic_control_put"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"label": None}, "DIS.4209"),
        ({"label": "unknown"}, "DIS.4209"),
        ({"label": "total_put_bytes_per_partition"}, "DIS.4209"),
        ({"label_list": f"{PUT_BYTES},unknown"}, "DIS.4209"),
        ({"label_list": f"{PUT_BYTES},"}, "DIS.4209"),
        ({"start_time": None}, "DIS.4200"),
        ({"end_time": None}, "DIS.4200"),
        ({"start_time": "yesterday"}, "DIS.4203"),
        ({"start_time": START_MS}, "DIS.4203"),
        ({"end_time": START_MS}, "DIS.4203"),
        ({"start_time": 0}, "DIS.4203"),
        ({"start_time": -START_S}, "DIS.4203"),
        ({"start_time": START_S + 61}, "DIS.4203"),
        ({"start_time": START_S - WEEK_S + 59}, "DIS.4204"),
        ({"start_time": START_S - WEEK_S - 61, "end_time": START_S - WEEK_S}, "DIS.4204"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_refused(stream, changes, code):
    asked = {"label": PUT_BYTES, "start_time": START_S, "end_time": START_S + 60, **changes}
    await stream.refused(code, "GET", "streams/s/metrics", asked)
    if "label" not in changes:
        if "label_list" not in changes:
            asked["label"] = PARTITION_LABELS[0]
        await stream.refused(code, "GET", "streams/s/partitions/0/metrics", asked)


async def test_the_last_seven_days_can_be_asked_for(stream):
    assert await values(stream, PUT_BYTES, start=START_S - WEEK_S, end=START_S) == []


async def test_a_stream_or_a_partition_that_is_not_there_is_said_so(stream):
    asked = {"label": PARTITION_LABELS[0], "start_time": START_S, "end_time": START_S}
    await stream.refused("DIS.4302", "GET", "streams/s/partitions/2/metrics", asked)
    await stream.refused("DIS.4201", "GET", "streams/s/partitions/x/metrics", asked)
    await stream.refused("DIS.4301", "GET", "streams/none/partitions/0/metrics", asked)
    await stream.refused(
        "DIS.4301", "GET", "streams/none/metrics", {**asked, "label": STREAM_LABELS[0]}
    )


async def test_counts_are_kept_for_seven_days_and_no_longer(stream, clock):
    await stream.put([record()])
    for hours, left in [(24 * 7 - 1, 1), (2, 0)]:
        clock.advance(hours=hours)
        await stream.put([record()])
        now = clock.now_ms() // 1000
        found = await values(stream, PUT_RECORDS, start=now - WEEK_S, end=now)
        assert [t for t, _ in found if t == MINUTE_S] == [MINUTE_S] * left
    assert len(found) == 2


async def test_counts_outlive_a_restart_in_the_middle_of_a_minute(tmp_path):
    clock = ManualClock(MINUTE_S * 1000)
    for _ in range(3):
        async with calling(tmp_path, clock=clock) as dis:
            if not (await dis.call("GET", "streams"))["stream_names"]:
                await dis.create(partitions=2)
            await dis.put([record(partition_id="1")] * 2)
            clock.advance(seconds=25)
    async with calling(tmp_path, clock=clock) as dis:
        assert await values(dis, PUT_RECORDS) == [(MINUTE_S, 6)]
        assert await values(dis, PARTITION_LABELS[2], partition=1) == [(MINUTE_S, 6)]
        assert await values(dis, PARTITION_LABELS[2], partition=0) == []


async def test_a_stream_that_is_made_anew_begins_without_counts(stream):
    await stream.put([record()])
    await stream.call("DELETE", "streams/s", status=204)
    await stream.create()
    assert await values(stream, PUT_RECORDS) == []


async def test_a_deleted_streams_counts_are_no_burden_to_the_next_minute(stream, clock):
    await stream.create("other")
    await stream.put([record()])
    await stream.put([record()], "other")
    await stream.call("DELETE", "streams/other", status=204)
    clock.advance(minutes=2)
    assert await values(stream, PUT_RECORDS) == [(MINUTE_S, 1)]
