"""The clock that tests move: order, threads, what it waits for."""

import asyncio
import threading

import pytest

from aiodis.api import Streams
from aiodis.clock import CLOCKS, SYSTEM_CLOCK, AutoClock, ManualClock
from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError, RequestTimeoutError
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.transport.clocked import ClockedSession
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import Answer

pytestmark = pytest.mark.timeout(30)  # a wait for a clock that nobody moves has no end


def noting(clock):
    """Give a list, and what notes a word there with the time."""
    seen = []
    return seen, lambda word: seen.append((word, clock.now()))


# -- Moved by hand ------------------------------------------------------------------------


async def test_timers_go_off_in_the_order_of_their_times_and_ties_in_that_of_their_setting():
    clock, seen = ManualClock(), []
    for word, after in [("c", 3), ("a", 1), ("b", 2), ("b again", 2), ("later", 4)]:
        clock.call_later(after, seen.append, word)
    clock.advance(seconds=3)
    await asyncio.sleep(0)
    assert seen == ["a", "b", "b again", "c"]
    clock.advance(seconds=1)
    await asyncio.sleep(0)
    assert seen[-1] == "later"


async def wait_twice(clock, note):
    for word in "ab":
        await clock.sleep(1)
        note(word)


async def test_advancing_shows_who_waits_the_end_and_the_next_wait_counts_from_there():
    clock = ManualClock()
    seen, note = noting(clock)
    waiting = asyncio.create_task(wait_twice(clock, note))
    await clock.settle()
    clock.advance(seconds=3)
    await clock.settle()
    assert seen == [("a", 3)]
    clock.advance(seconds=1)
    await waiting
    assert seen == [("a", 3), ("b", 4)]


async def test_running_shows_who_waits_each_its_own_time():
    clock = ManualClock()
    seen, note = noting(clock)
    waiting = asyncio.create_task(wait_twice(clock, note))
    await clock.run_for(seconds=3)
    assert seen == [("a", 1), ("b", 2)]
    assert clock.now() == 3
    await waiting


async def test_a_timer_is_due_at_its_time_and_not_before_whatever_floats_make_of_it():
    clock, seen = ManualClock(1_700_000_000_123), []
    for _ in range(1000):
        clock.call_later(0.1 + 0.2, seen.append, 1)
        clock.advance(milliseconds=299)
        await asyncio.sleep(0)
        assert not seen
        clock.advance(milliseconds=1)
        await asyncio.sleep(0)
        assert seen.pop()
    assert clock.now_ms() == 1_700_000_000_123 + 300_000


async def test_a_cancelled_timer_does_not_go_off_even_when_it_was_due_already():
    clock, seen = ManualClock(), []
    timer, due = clock.call_later(1, seen.append, 1), clock.call_later(1, seen.append, 2)
    timer.cancel()
    clock.advance(seconds=1)
    due.cancel()
    await asyncio.sleep(0)
    assert not seen


async def test_timers_that_were_cancelled_do_not_pile_up():
    clock = ManualClock()
    kept = clock.call_later(3600, print)
    for _ in range(10_000):
        clock.call_later(60, print).cancel()
    assert len(clock._timers) < 1000
    kept.cancel()
    clock.advance(hours=2)
    assert not clock._timers


async def test_a_time_that_has_come_is_not_waited_for():
    clock, seen = ManualClock(), []
    clock.call_at(-5, seen.append, 1)
    await clock.sleep(0)
    await clock.sleep(-1)
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.Event().wait()
    assert seen == [1]


async def test_a_block_ends_with_a_timeout_only_when_the_clock_says_so():
    clock = ManualClock()

    async def hang():
        async with clock.timeout(60):
            await asyncio.Event().wait()

    async def be_quick():
        async with clock.timeout(60):
            return "done"

    hanging = asyncio.create_task(hang())
    assert await be_quick() == "done"
    await clock.run_for(seconds=59)
    assert not hanging.done()
    await clock.run_for(seconds=1)
    with pytest.raises(TimeoutError):
        await hanging
    assert not [timer for timer in clock._timers if not timer.is_cancelled]


async def test_a_cancelled_wait_is_cancelled_and_no_timeout():
    clock = ManualClock()

    async def hang():
        async with clock.timeout(60), clock.timeout(None):
            await clock.sleep(30)

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    clock.advance(seconds=60)


async def test_a_callback_that_fails_is_the_loops_to_report_and_stops_no_other():
    clock, seen, reported = ManualClock(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: reported.append(told))
    clock.call_later(1, lambda: 1 / 0)
    clock.call_later(1, seen.append, 1)
    await clock.run_for(seconds=1)
    assert seen == [1]
    assert isinstance(reported[0]["exception"], ZeroDivisionError)


def test_a_clock_only_goes_forward():
    clock = ManualClock(0)
    with pytest.raises(ConfigError, match="forward"):
        clock.advance(seconds=-1)
    clock.advance(hours=1, minutes=-1)
    assert (clock.now_ms(), clock.wall(), clock.now()) == (3_540_000, 3540, 3540)


async def test_the_systems_clock_is_not_moved_and_says_what_to_use():
    with pytest.raises(ConfigError, match="ManualClock"):
        SYSTEM_CLOCK.advance(hours=1)
    with pytest.raises(ConfigError, match="--clock manual"):
        await SYSTEM_CLOCK.run_for(hours=1)
    assert [kind().kind for kind in CLOCKS.values()] == list(CLOCKS) == ["real", "manual", "auto"]


# -- What it waits for --------------------------------------------------------------------


async def test_running_waits_for_what_is_in_flight_before_it_goes_on():
    clock = ManualClock()
    seen, note = noting(clock)

    async def call():
        await clock.sleep(1)
        async with clock.sending(100):
            await asyncio.sleep(0.02)  # the network's time
        note("answered")
        await clock.sleep(1)
        note("slept")

    calling = asyncio.create_task(call())
    await clock.run_for(seconds=5)
    assert seen == [("answered", 1), ("slept", 2)]
    await calling


@pytest.mark.parametrize("of_ours", [True, False])
async def test_a_request_that_the_server_holds_up_by_the_clock_is_not_waited_for(of_ours):
    clock = ManualClock()

    async def serve():
        with clock.serving(), clock.pausing(lambda: True):
            await clock.sleep(60)

    async def call():
        if not of_ours:
            return await serve()
        async with clock.sending(100):
            return await serve()

    calling = asyncio.create_task(call())
    await clock.run_for(seconds=59)
    assert not calling.done()
    await clock.run_for(seconds=1)
    await calling


async def test_a_new_request_is_waited_for_beside_one_that_its_client_gave_up():
    clock = ManualClock()
    given_up = asyncio.Event()

    async def serve_what_hangs():
        with clock.serving(), clock.pausing(lambda: False):
            await given_up.wait()

    hanging = asyncio.create_task(serve_what_hangs())
    await asyncio.sleep(0)
    async with clock.sending(100):  # on its way, and not served yet
        settling = asyncio.create_task(clock.settle())
        await asyncio.sleep(0.02)
        assert not settling.done()
    await settling
    given_up.set()
    await hanging


async def test_busy_holds_up_the_time():
    clock = AutoClock()
    with clock.busy():
        sleeping = asyncio.create_task(clock.sleep(60))
        await asyncio.sleep(0.02)
        assert (clock.now(), sleeping.done()) == (0, False)
    await sleeping
    assert clock.now() == 60


async def test_somebody_who_spins_does_not_stop_the_time():
    clock = AutoClock()
    sleeping = asyncio.create_task(clock.sleep(60))
    while not sleeping.done():  # noqa: ASYNC110 - that is the point
        await asyncio.sleep(0)
    assert clock.now() == 60


# -- By itself ----------------------------------------------------------------------------


async def test_it_jumps_from_wait_to_wait_and_leaves_no_task():
    clock = AutoClock()
    seen, note = noting(clock)

    async def wait(word, *steps):
        for step in steps:
            await clock.sleep(step)
            note(word)

    await asyncio.gather(wait("a", 10, 10, 3600), wait("b", 15, 10))
    assert seen == [("a", 10), ("b", 15), ("a", 20), ("b", 25), ("a", 3620)]
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_can_be_moved_and_waited_for_as_well():
    clock = AutoClock()
    clock.advance(hours=1)
    await clock.run_for(minutes=1)
    assert clock.now() == 3660


def test_a_loop_that_ends_leaves_the_driving_to_another():
    clock = AutoClock()
    begun, ended, seen = threading.Event(), threading.Event(), []

    async def drive_first():
        clock.call_later(1, print)  # the driver is here
        begun.set()
        with clock.busy():
            await asyncio.to_thread(ended.wait, 5)

    async def wait_long():
        sleeping = asyncio.create_task(clock.sleep(60))
        await asyncio.sleep(0)
        ended.set()
        await asyncio.wait_for(sleeping, 10)
        seen.append(clock.now())

    other = threading.Thread(target=lambda: asyncio.run(drive_first()))
    other.start()
    begun.wait(5)
    asyncio.run(wait_long())
    other.join()
    assert seen == [60]


# -- Threads ------------------------------------------------------------------------------


class LoopThread:
    """A loop of its own in a thread of its own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop)


@pytest.mark.parametrize("kind", [ManualClock, AutoClock])
async def test_loops_of_two_threads_take_turns_as_their_times_come(kind):
    clock = kind()
    seen, note = noting(clock)

    async def wait(word, *steps):
        for step in steps:
            await clock.sleep(step)
            note(word)

    with LoopThread() as other:
        with clock.busy():  # until both wait
            there = asyncio.wrap_future(other.run(wait("there", 1, 2, 2)))
            here = asyncio.create_task(wait("here", 2, 2, 2))
            while len(clock._timers) < 2:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0.001)
        await clock.run_for(seconds=7)
        await asyncio.gather(there, here)
    assert seen == [(word, at) for at, word in enumerate(["there", "here"] * 3, 1)]


async def test_timers_of_a_loop_that_was_closed_are_passed_over():
    clock, seen = ManualClock(), []

    async def set_timer():
        clock.call_later(1, seen.append, "gone")

    with LoopThread() as other:
        await asyncio.wrap_future(other.run(set_timer()))
    clock.call_later(2, seen.append, "here")
    await clock.run_for(seconds=3)
    assert seen == ["here"]


def test_a_clock_may_be_moved_from_another_thread():
    clock = ManualClock()
    with LoopThread() as other:
        sleeping = other.run(clock.sleep(60))
        while not clock._timers:
            pass
        clock.advance(seconds=60)
        sleeping.result(5)


# -- What client and server make of it ----------------------------------------------------


async def test_a_limiter_paces_by_the_clock():
    clock = AutoClock()
    limiter = PartitionLimiter(bytes_per_s=1000, clock=clock)
    for _ in range(50):
        await limiter.acquire(100)
    assert clock.now() == pytest.approx((50 * 100 - 250) / 1000, abs=0.1)


class HeldUp:
    """A session to a server that holds a request up by the clock, once it has come."""

    def __init__(self, clock):
        self.clock, self.has_come = clock, asyncio.Event()

    async def open(self):
        pass

    async def send(self, *_, **__):
        await self.has_come.wait()
        with self.clock.serving(), self.clock.pausing(lambda: True):
            await asyncio.Event().wait()

    async def close(self):
        pass


async def test_a_request_is_given_up_by_the_clock_and_may_have_been_carried_out():
    clock = ManualClock()
    server = HeldUp(clock)
    sending = ClockedSession(server, clock).send("GET", "/", headers={}, body=None, timeout_s=30)
    sending = asyncio.create_task(sending)
    server.has_come.set()
    await clock.run_for(seconds=29)
    assert not sending.done()
    clock.advance(seconds=1)
    with pytest.raises(RequestTimeoutError, match="30 s") as caught:
        await sending
    assert caught.value.ambiguous


async def test_a_request_under_way_is_not_given_up_because_an_hour_passed_at_once():
    clock = ManualClock()
    server = HeldUp(clock)
    sending = ClockedSession(server, clock).send("GET", "/", headers={}, body=None, timeout_s=30)
    sending = asyncio.create_task(sending)
    await asyncio.sleep(0)
    clock.advance(hours=1)
    await asyncio.sleep(0.01)
    assert not sending.done()
    server.has_come.set()
    with pytest.raises(RequestTimeoutError):  # now that the server holds it up
        await sending


class SigningTimes:
    """A session that notes the times that requests were signed for."""

    def __init__(self):
        self.dates = []

    async def open(self):
        pass

    async def send(self, method, url, *, headers, **_):
        self.dates.append(headers["X-Sdk-Date"])
        return Answer(200, {}, b'{"total_number":0,"has_more_streams":false,"stream_names":[]}')

    async def close(self):
        pass


async def test_requests_are_signed_for_the_clocks_time():
    clock, session = ManualClock(1_700_000_000_000), SigningTimes()
    settings = ClientSettings(endpoint="http://127.0.0.1", project_id="p")
    exchange = Exchange(settings, AccessKey("ak", "sk"), session=session, clock=clock)
    for _ in range(2):
        await Streams(exchange).list()
        clock.advance(hours=1)
    assert session.dates == ["20231114T221320Z", "20231114T231320Z"]
    await exchange.close()
