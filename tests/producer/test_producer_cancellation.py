"""Every await of the producer's surface, cancelled at every point: what its docstring says holds.

A scenario is played again and again on a fresh loop. In play n the call under test is cancelled
after n iterations of the loop, until a play in which it ends by itself.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import looptime
import pytest
from scripted_service import ScriptedService

from aiodis.config import ProducerSettings
from aiodis.errors import (
    BufferFullError,
    ClosedError,
    ConnectError,
    DeliveryTimeoutError,
    KeyPausedError,
)
from aiodis.producer import FlushReport, Producer, Receipt
from aiodis.producer.lanes import ENTRY_BYTES
from aiodis.record import Record, RecordMetadata

ROOM = 2 * (ENTRY_BYTES + 10)
"""Two records of the plays fit into a producer's memory; the third waits."""


class SteppedLoop(looptime.make_event_loop_class(asyncio.SelectorEventLoop)):
    """A loop on virtual time that counts its iterations, and calls back at some of them."""

    def __init__(self) -> None:
        super().__init__(noop_cycles=1)
        self.iteration = 0
        self.at: dict[int, Callable[[], object]] = {}

    def _run_once(self) -> None:
        self.iteration += 1
        if action := self.at.pop(self.iteration, None):
            action()
        super()._run_once()


class Cut:
    """Runs a call, and cancels it after some iterations, and perhaps once more later."""

    def __init__(self, after: int, again: int | None = None) -> None:
        self.after, self.again = after, again
        self.was_cancelled = False

    async def __call__(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Give what the call returned or raised; None once it was cancelled."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(call)

        def cancel() -> None:
            self.was_cancelled = task.cancel() or self.was_cancelled

        begin = loop.iteration + 1 + self.after
        loop.at = {begin: cancel}
        if self.again is not None:
            loop.at[begin + self.again] = cancel
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        loop.at = {}
        assert isinstance(outcome, asyncio.CancelledError) == self.was_cancelled
        return None if self.was_cancelled else outcome


def play_at_every_point(
    scenario: Callable[[Cut], Awaitable[None]], *, again: int | None = None
) -> int:
    """Play until nothing is left to cancel; tell how many points there were."""
    for after in itertools.count():
        cut = Cut(after, again)
        with asyncio.Runner(loop_factory=SteppedLoop) as runner:
            runner.run(scenario(cut))
        if not cut.was_cancelled:
            return after
    raise AssertionError


orderings = pytest.mark.parametrize("ordering", ["partition", "key", "none"])


class Play:
    """A producer, its service, and the records that were given to it."""

    def __init__(self, ordering: str = "partition", **settings) -> None:
        self.service = ScriptedService(partitions=2)
        self.settings = {
            "ordering": ordering,
            "linger_ms": 5,
            "max_block_ms": 10_000,
            "close_timeout_ms": 2_000,
            "retry_backoff_ms": 20,
            **settings,
        }
        self.producer = Producer(self.service, "events", ProducerSettings(**self.settings))
        self.receipts: dict[bytes, Receipt] = {}

    async def send(self, *data: bytes) -> None:
        for item in data:
            self.receipts[item] = await self.producer.send(item, partition_key=f"k{item[0] % 2}")

    def copies(self) -> Counter[bytes]:
        return Counter(self.service.all_data())

    async def end(self) -> FlushReport:
        """Close, and see that nothing is left and that outcomes and service agree."""
        report = await self.producer.close()
        stats = self.producer.stats()
        await self.producer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert stats.buffered_bytes == 0
        assert stats.accepted == stats.delivered + stats.failed
        assert len(self.copies()) == self.copies().total()  # none twice: nothing was ambiguous
        for data, receipt in self.receipts.items():
            match receipt.exception():
                case None:
                    assert self.copies()[data] == 1
                    assert isinstance(receipt.result(), RecordMetadata)
                case DeliveryTimeoutError() as error:
                    assert error.ambiguous or data not in self.copies()
                case other:
                    raise AssertionError(other)
        with pytest.raises(ClosedError):
            await self.producer.send(b"late")
        return report


# -- start --------------------------------------------------------------------------------


def test_a_start_that_is_cancelled_has_started_nothing_and_may_be_repeated():
    async def scenario(cut: Cut) -> None:
        play = Play()
        await cut(play.producer.start())
        if cut.was_cancelled:
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with pytest.raises(ClosedError):
                play.producer.send_nowait(b"x")
        await play.producer.start()
        await play.send(b"a", b"b")
        assert await play.end() == (2, 0, 0)

    assert play_at_every_point(scenario) >= 3


def test_a_producer_whose_start_was_cancelled_can_be_closed():
    async def scenario(cut: Cut) -> None:
        play = Play()
        await cut(play.producer.start())
        assert await play.end() == (0, 0, 0)

    assert play_at_every_point(scenario) >= 3


# -- send ---------------------------------------------------------------------------------


@orderings
def test_a_send_that_is_cancelled_in_its_wait_for_room_sends_nothing(ordering):
    async def scenario(cut: Cut) -> None:
        play = Play(ordering, buffer_memory=ROOM)
        await play.producer.start()
        await play.send(b"a", b"b")
        await cut(play.send(b"c"))
        accepted = 2 if cut.was_cancelled else 3
        assert play.producer.stats().accepted == accepted
        assert (b"c" in play.receipts) == (accepted == 3)
        await play.producer.flush()
        assert set(play.copies()) == {b"a", b"b", b"c"} - ({b"c"} if accepted == 2 else set())
        await play.end()

    assert play_at_every_point(scenario) >= 4


def test_a_cancelled_send_does_not_take_the_turn_of_who_waits_behind_it():
    async def scenario(cut: Cut) -> None:
        play = Play(buffer_memory=ROOM)
        await play.producer.start()
        await play.send(b"a", b"b")
        first = asyncio.create_task(cut(play.send(b"c")))
        await asyncio.sleep(0)
        await asyncio.gather(first, play.send(b"d"), play.send(b"e"))
        assert await play.producer.flush() == (len(play.receipts), 0, 0)
        assert set(play.copies()) >= {b"a", b"b", b"d", b"e"}
        await play.end()

    assert play_at_every_point(scenario) >= 4


def test_a_send_that_finds_no_room_in_time_leaves_nothing_whenever_it_is_cancelled():
    async def scenario(cut: Cut) -> None:
        play = Play(buffer_memory=ROOM, max_block_ms=30)
        await play.producer.start()
        play.service.latency = 1
        await play.send(b"a", b"b")
        outcome = await cut(play.send(b"c"))
        assert isinstance(outcome, BufferFullError) != cut.was_cancelled
        assert await play.end() == (2, 0, 0)
        assert set(play.copies()) == {b"a", b"b"}

    assert play_at_every_point(scenario) >= 4


def test_a_send_that_waits_for_room_while_the_producer_is_closed_is_turned_away_or_cancelled():
    async def scenario(cut: Cut) -> None:
        play = Play(buffer_memory=ROOM)
        await play.producer.start()
        await play.send(b"a", b"b")
        waiting = asyncio.create_task(cut(play.send(b"c")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing = asyncio.create_task(play.producer.close())
        outcome = await waiting
        assert isinstance(outcome, ClosedError) != cut.was_cancelled
        await closing
        await play.end()
        assert set(play.copies()) == {b"a", b"b"}

    assert play_at_every_point(scenario) >= 3


# -- send_and_wait, and the receipt -------------------------------------------------------


@orderings
def test_a_cancelled_send_and_wait_sends_its_record_once_or_never(ordering):
    async def scenario(cut: Cut) -> None:
        play = Play(ordering, buffer_memory=ROOM)
        await play.producer.start()
        await play.send(b"a", b"b")
        await cut(play.producer.send_and_wait(b"c", partition_key="k1"))
        accepted = play.producer.stats().accepted
        assert accepted == 3 or cut.was_cancelled
        await play.producer.flush()
        assert play.copies()[b"c"] == accepted - 2
        await play.end()

    assert play_at_every_point(scenario) >= 6


def test_a_cancelled_wait_for_a_receipt_cancels_neither_the_send_nor_another_wait():
    async def scenario(cut: Cut) -> None:
        play = Play()
        await play.producer.start()
        await play.send(b"a")
        receipt = play.receipts[b"a"]

        async def wait() -> RecordMetadata:
            return await receipt

        other = asyncio.create_task(wait())
        await cut(wait())
        assert (await other).sequence_number == 0
        assert (await receipt).attempts == 1
        assert await play.end() == (1, 0, 0)

    assert play_at_every_point(scenario) >= 3


# -- send_many ----------------------------------------------------------------------------


@orderings
def test_a_cancelled_send_many_sends_a_beginning_of_its_records(ordering):
    data = [b"%d" % n for n in range(7)]

    async def scenario(cut: Cut) -> None:
        play = Play(ordering, buffer_memory=ROOM)
        await play.producer.start()
        await cut(play.producer.send_many([Record(item, f"k{item[0] % 2}") for item in data]))
        accepted = play.producer.stats().accepted
        assert accepted < 7 or not cut.was_cancelled
        assert await play.producer.flush() == (accepted, 0, 0)
        assert play.copies() == Counter(data[:accepted])
        assert await play.end() == (0, 0, 0)

    assert play_at_every_point(scenario) >= 15


# -- flush --------------------------------------------------------------------------------


@orderings
@pytest.mark.parametrize("timeout", [None, 0, 0.005, 0.012, 0.5])
def test_a_cancelled_flush_loses_no_count(ordering, timeout):
    async def scenario(cut: Cut) -> None:
        play = Play(ordering)
        await play.producer.start()
        play.service.put_faults = [lambda entries: ConnectError("down"), lambda e: {0: "DIS.4200"}]
        for n in range(5):
            play.producer.post(b"%d" % n, partition_key=f"k{n}")
        first = await cut(play.producer.flush(timeout))
        play.producer.post(b"5", partition_key="k5")
        reports = [first] if first else []
        reports += [await play.producer.flush(), await play.producer.flush()]
        assert reports[-1] == (0, 0, 0)
        assert sum(report.delivered for report in reports) == 5
        assert sum(report.failed for report in reports) == 1
        assert reports[-2].pending == 0
        assert len(play.producer._epochs._epochs) == 1
        await play.end()

    assert play_at_every_point(scenario) >= 1


def test_a_cancelled_flush_does_not_disturb_another_one():
    async def scenario(cut: Cut) -> None:
        play = Play()
        await play.producer.start()
        await play.send(b"a", b"b")
        other = asyncio.create_task(play.producer.flush())
        await cut(play.producer.flush())
        assert (await other).pending == 0
        assert play.copies() == Counter([b"a", b"b"])
        await play.end()

    assert play_at_every_point(scenario) >= 3


def test_what_a_flush_reported_is_not_reported_again():
    """A flush that ends in time for a part of its records only has told what became of these."""

    async def scenario() -> None:
        play = Play()
        await play.producer.start()
        play.service.put_faults = [lambda entries: {0: "DIS.4303"}] * 3
        await play.send(b"1", b"3", b"5")  # one partition; two are written at once
        await asyncio.sleep(0)
        reports = [await play.producer.flush(timeout) for timeout in (0.011, None)]
        assert reports == [(2, 0, 1), (1, 0, 0)]
        await play.end()

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(scenario())


def test_what_a_close_reported_as_failed_is_not_reported_again():
    async def scenario() -> None:
        play = Play(close_timeout_ms=50)
        await play.producer.start()
        play.service.down = "refused"
        await play.send(b"a", b"b")
        assert [await play.producer.close() for _ in range(2)] == [(0, 2, 0), (0, 0, 0)]

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(scenario())


# -- close and the context manager --------------------------------------------------------


def break_down(play: Play, how: str) -> None:
    play.service.down = None if how == "up" else how


@orderings
@pytest.mark.parametrize("service", ["up", "refused", "silent"])
@pytest.mark.parametrize("again", [None, 1, 2, 3])
def test_a_cancelled_close_fails_the_rest_at_once_and_a_second_one_works(ordering, service, again):
    async def scenario(cut: Cut) -> None:
        play = Play(ordering, close_timeout_ms=100)
        await play.producer.start()
        break_down(play, service)
        await play.send(b"a", b"b", b"c", b"d")
        await asyncio.sleep(0.006)  # some are on their way
        await play.send(b"e", b"f")
        report = await cut(play.producer.close())
        if cut.after > 0:  # else it was cancelled before its first step
            assert all(receipt.done() for receipt in play.receipts.values())
            assert play.producer.stats().buffered_bytes == 0
        if not cut.was_cancelled:
            assert report == ((6, 0, 0) if service == "up" else (0, 6, 0))
            assert asyncio.all_tasks() == {asyncio.current_task()}
        await play.end()

    assert play_at_every_point(scenario, again=again) >= 5


def test_a_cancelled_close_turns_away_who_waits_for_room():
    async def scenario(cut: Cut) -> None:
        play = Play(buffer_memory=ROOM, close_timeout_ms=50)
        await play.producer.start()
        play.service.down = "refused"
        await play.send(b"a", b"b")
        waiting = asyncio.create_task(play.send(b"c"))
        await asyncio.sleep(0.01)
        await cut(play.producer.close())
        await play.producer.close()
        with pytest.raises(ClosedError):
            await waiting
        await play.end()

    assert play_at_every_point(scenario) >= 3


@orderings
@pytest.mark.parametrize("service", ["up", "refused", "silent"])
@pytest.mark.parametrize("again", [None, 1, 3])
def test_a_cancelled_async_with_leaves_nothing_and_delivers_once_or_says_so(
    ordering, service, again
):
    async def scenario(cut: Cut) -> None:
        play = Play(ordering, buffer_memory=ROOM, close_timeout_ms=100, delivery_timeout_ms=300)

        async def use() -> None:
            async with play.producer:
                break_down(play, service)
                await play.send(b"a", b"b", b"c")
                await play.producer.flush(0.05)
                await play.send(b"d")

        outcome = await cut(use())
        assert outcome is None or isinstance(outcome, KeyPausedError)
        await play.end()
        if not cut.was_cancelled and service == "up":
            assert set(play.copies()) == {b"a", b"b", b"c", b"d"}

    assert play_at_every_point(scenario, again=again) >= 10


def test_an_error_in_the_block_and_a_cancelled_exit_leave_nothing():
    async def scenario(cut: Cut) -> None:
        play = Play(close_timeout_ms=100)

        async def use() -> None:
            async with play.producer:
                await play.send(b"a", b"b", b"c")
                raise ZeroDivisionError

        outcome = await cut(use())
        assert isinstance(outcome, ZeroDivisionError) != cut.was_cancelled
        await play.end()

    assert play_at_every_point(scenario) >= 5
