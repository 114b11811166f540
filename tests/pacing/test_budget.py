import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.errors import BufferFullError, ClosedError
from aiodis.pacing.budget import ByteBudget

pytestmark = pytest.mark.looptime


def start(*waits):
    return [asyncio.ensure_future(wait) for wait in waits]


async def settle():
    """Let everything that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


class TestTaking:
    async def test_what_is_free_is_taken_at_once(self):
        budget = ByteBudget(10)
        await budget.take(4)
        assert budget.try_take(6)
        assert budget.free == 0
        assert not budget.try_take(1)
        assert budget.free == 0

    async def test_all_of_it_may_be_taken_at_once(self):
        budget = ByteBudget(10)
        assert budget.try_take(10)

    async def test_nothing_is_taken_while_somebody_waits_even_if_it_would_fit(self):
        budget = ByteBudget(10)
        await budget.take(8)
        [large] = start(budget.take(5))
        await settle()
        assert not budget.try_take(1)
        budget.give(8)
        await large
        assert budget.free == 5

    async def test_waiters_are_served_in_their_order(self):
        budget = ByteBudget(10)
        await budget.take(10)
        served = []

        async def take(name, size):
            await budget.take(size)
            served.append(name)

        waiting = start(take("large", 9), take("small", 1), take("second", 1))
        await settle()
        budget.give(5)
        await settle()
        assert served == []  # the small ones would fit, but the large one came first
        budget.give(5)
        await settle()
        assert served == ["large", "small"]
        budget.give(9)
        await asyncio.gather(*waiting)
        assert served == ["large", "small", "second"]
        assert budget.free == 8

    async def test_one_gift_serves_as_many_as_fit(self):
        budget = ByteBudget(10)
        await budget.take(10)
        waiting = start(*(budget.take(3) for _ in range(4)))
        await settle()
        budget.give(10)
        await settle()
        assert [task.done() for task in waiting] == [True, True, True, False]
        budget.give(3)
        await asyncio.gather(*waiting)
        assert budget.free == 1


class TestTimeouts:
    async def test_no_room_in_time_is_an_error_that_says_how_full_it_is(self):
        budget = ByteBudget(10)
        await budget.take(8)
        loop = asyncio.get_running_loop()
        with pytest.raises(BufferFullError) as caught:
            await budget.take(5, timeout_s=2.5)
        assert loop.time() == 2.5
        assert str(caught.value) == "no room for 5 bytes within 2.5 s: 8 of 10 bytes are taken"
        assert budget.free == 2

    async def test_with_no_time_at_all_only_what_is_free_is_taken(self):
        budget = ByteBudget(10)
        await budget.take(5, timeout_s=0)
        with pytest.raises(BufferFullError):
            await budget.take(6, timeout_s=0)
        assert budget.free == 5

    async def test_room_that_comes_in_time_is_taken(self):
        budget = ByteBudget(10)
        await budget.take(10)
        asyncio.get_running_loop().call_later(2, budget.give, 10)
        await budget.take(5, timeout_s=2.5)
        assert budget.free == 5

    async def test_whoever_stands_behind_one_that_gives_up_is_served(self):
        budget = ByteBudget(10)
        await budget.take(8)
        large, small = start(budget.take(5, timeout_s=1), budget.take(2))
        with pytest.raises(BufferFullError):
            await large
        await small
        assert budget.free == 0


class TestCancelling:
    async def test_cancelled_while_it_waits_nothing_is_taken(self):
        budget = ByteBudget(10)
        await budget.take(8)
        [waiting] = start(budget.take(5))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert budget.free == 2
        budget.give(8)
        assert budget.try_take(10)

    async def test_cancelled_in_the_turn_in_which_room_came_the_room_goes_back(self):
        budget = ByteBudget(10)
        await budget.take(8)
        [waiting] = start(budget.take(5))
        await settle()
        budget.give(8)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert budget.free == 10

    async def test_room_that_goes_back_so_reaches_the_next(self):
        budget = ByteBudget(10)
        await budget.take(10)
        first, second = start(budget.take(10), budget.take(10))
        await settle()
        budget.give(10)
        first.cancel()
        await second
        assert first.cancelled()
        assert budget.free == 0

    async def test_cancelled_before_it_started_nothing_is_taken(self):
        budget = ByteBudget(10)
        [waiting] = start(budget.take(5))
        waiting.cancel()
        await settle()
        assert budget.free == 10

    async def test_a_large_one_that_is_cancelled_lets_the_small_ones_behind_it_pass(self):
        budget = ByteBudget(10)
        await budget.take(5)
        large, small, other = start(budget.take(9), budget.take(2), budget.take(3))
        await settle()
        large.cancel()
        await asyncio.gather(small, other)
        assert budget.free == 0

    async def test_one_in_the_middle_that_is_cancelled_keeps_its_neighbours_places(self):
        budget = ByteBudget(10)
        await budget.take(10)
        first, middle, last = start(budget.take(4), budget.take(4), budget.take(4))
        await settle()
        middle.cancel()
        await settle()
        budget.give(4)
        await first
        assert not last.done()
        budget.give(4)
        await last
        assert budget.free == 0


class TestFailing:
    async def test_everyone_who_waits_gets_an_error_of_their_own(self):
        budget = ByteBudget(10)
        await budget.take(10)
        waiting = start(budget.take(1), budget.take(2))
        await settle()
        error = ClosedError("the producer is closed")
        budget.fail(error)
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(each) for each in found] == ["the producer is closed"] * 2
        assert {type(each) for each in found} == {ClosedError}
        assert len({id(each) for each in (error, *found)}) == 3
        assert budget.free == 0

    async def test_what_was_taken_may_still_be_given_back_afterwards(self):
        budget = ByteBudget(10)
        await budget.take(10)
        [waiting] = start(budget.take(1))
        await settle()
        budget.fail(ClosedError("closed"))
        await asyncio.gather(waiting, return_exceptions=True)
        budget.give(10)
        assert budget.free == 10

    async def test_cancelled_in_the_turn_of_the_failure_nothing_is_taken(self):
        budget = ByteBudget(10)
        await budget.take(10)
        [waiting] = start(budget.take(1))
        await settle()
        budget.fail(ClosedError("closed"))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert budget.free == 0

    async def test_with_nobody_waiting_nothing_happens(self):
        budget = ByteBudget(10)
        budget.fail(ClosedError("closed"))
        assert budget.try_take(10)


class Model:
    """A budget with its callers, and what each of them holds."""

    LIMIT = 10

    def __init__(self):
        self.budget = ByteBudget(self.LIMIT)
        self.waiting = []  # tasks with what they ask for, oldest first
        self.held = []

    def take(self, size):
        self.waiting.append((asyncio.ensure_future(self.budget.take(size)), size))

    def try_take(self, size):
        if self.budget.try_take(size):
            self.held.append(size)

    def give(self, which):
        if self.held:
            self.budget.give(self.held.pop(which % len(self.held)))

    def cancel(self, which):
        if self.waiting:
            self.waiting[which % len(self.waiting)][0].cancel()

    async def rest(self):
        await settle()
        done = [(task, size) for task, size in self.waiting if task.done()]
        self.waiting = [pair for pair in self.waiting if pair not in done]
        self.held += [size for task, size in done if not task.cancelled()]
        assert self.budget.free + sum(self.held) == self.LIMIT
        # The oldest waits for want of room only, the others for their turn.
        assert not self.waiting or self.waiting[0][1] > self.budget.free

    async def play(self, steps):
        for name, number in steps:
            if name == "rest":
                await self.rest()
            else:
                getattr(self, name)(number)
            assert 0 <= self.budget.free <= self.LIMIT
        for task, _ in self.waiting:
            task.cancel()
        await self.rest()
        assert not self.waiting
        while self.held:
            self.give(0)
        assert self.budget.free == self.LIMIT


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "try_take", "give", "give", "cancel", "rest"]),
        st.integers(1, 10),
    ),
    max_size=40,
)


@given(steps)
def test_free_and_taken_are_always_the_limit(steps):
    with asyncio.Runner() as runner:
        runner.run(Model().play(steps))
