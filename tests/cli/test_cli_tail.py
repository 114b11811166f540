"""What tail does when reading goes wrong, by a service that answers from a script, in no time."""

import asyncio

import pytest

from aiodis.api.records import Cursor
from aiodis.api.streams import Partition, StreamDescription
from aiodis.cli.start import Start
from aiodis.cli.tail import _alone, _Chosen, _Feed, _readable, _Request
from aiodis.errors import (
    AuthError,
    ConnectError,
    CursorExpiredError,
    PartitionExpiredError,
    SequenceOutOfRangeError,
    ThrottledError,
)
from aiodis.record import ReceivedRecord
from aiodis.wire.codec import GetReply

pytestmark = pytest.mark.looptime


def refusal(kind):
    return kind("no", status=400, code="DIS.4200")


class Service:
    """Partitions whose records are their own numbers; `fails` are raised by reads, in order.

    With the first of them, the partitions have become those of `later`.
    """

    def __init__(self, *spans, fails=(), later=None):
        self.spans = list(spans)
        self.later = later or self.spans
        self.fails = list(fails)
        self.cursors = []
        self.streams = self.records = self

    async def describe_all(self, _stream):
        return StreamDescription(
            partitions=[
                Partition(partition_id=str(n), sequence_number_range=f"[{a} : {b}]")
                for n, (a, b) in enumerate(self.spans)
            ]
        )

    async def get_cursor(self, *, partition_id, starting_sequence_number, **_):
        self.cursors.append(int(starting_sequence_number))
        return Cursor(partition_cursor=f"{int(partition_id[-1])}:{starting_sequence_number}")

    async def get(self, *, partition_cursor, **_):
        if self.fails and (error := self.fails.pop(0)) is not None:
            self.spans = self.later
            raise error
        number, at = map(int, partition_cursor.split(":"))
        end = min(at + 2, self.spans[number][1])
        records = [ReceivedRecord(n, b"%d" % n) for n in range(at, end)]
        return GetReply(f"{number}:{end}", records)


async def tailed(service, *, follow=False, start="earliest", most=None):
    request = _Request(_Chosen(), Start(start), follow, most)
    feed = _Feed(service, "s", request, 1e9, asyncio.Queue(4))
    found = _readable(await service.describe_all("s"), request.chosen)
    return [int(r.data) async for batch in _alone(feed, found) for r in batch.records]


@pytest.mark.parametrize("kind", [CursorExpiredError, ThrottledError])
@pytest.mark.parametrize("follow", [False, True])
async def test_an_expired_cursor_or_a_throttle_costs_no_record_and_repeats_none(kind, follow):
    service = Service((0, 5), fails=[None, refusal(kind)])
    assert await tailed(service, follow=follow, most=5 if follow else None) == [0, 1, 2, 3, 4]
    assert service.cursors == [0, 2]


async def test_what_left_the_partition_is_told_and_reading_goes_on_at_the_oldest(capsys):
    service = Service((0, 9), fails=[None, refusal(SequenceOutOfRangeError)], later=[(6, 9)])
    assert await tailed(service) == [0, 1, 6, 7, 8]
    assert "going on at its oldest record" in capsys.readouterr().err


async def test_a_partition_that_expired_ends_and_the_others_go_on():
    service = Service((0, 3), (7, 9), fails=[refusal(PartitionExpiredError)])
    assert await tailed(service) == [7, 8]


async def test_an_outage_is_waited_for_only_when_following(capsys):
    service = Service((0, 2), fails=[ConnectError("gone")] * 50)
    assert await tailed(service, follow=True, most=2) == [0, 1]
    assert len(capsys.readouterr().err.splitlines()) == 1  # not one for each try
    with pytest.raises(ConnectError):
        await tailed(Service((0, 2), fails=[ConnectError("gone")]))


@pytest.mark.parametrize("follow", [False, True])
async def test_what_no_waiting_mends_is_raised(follow):
    with pytest.raises(AuthError):
        await tailed(Service((0, 2), fails=[refusal(AuthError)]), follow=follow)


async def test_a_cursor_that_is_refused_again_and_again_is_raised_in_the_end():
    with pytest.raises(CursorExpiredError):
        await tailed(Service((0, 2), fails=[refusal(CursorExpiredError)] * 9))


async def test_partitions_that_appear_while_following_are_read_from_their_first_record():
    service = Service((0, 0))
    reading = asyncio.create_task(tailed(service, follow=True, start="latest", most=3))
    await asyncio.sleep(1)
    service.spans.append((0, 3))
    assert await reading == [0, 1, 2]
