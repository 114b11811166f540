"""The one clock of an embedded DIS and of its clients: the system's, or one that tests move.

A clock that tests move stands still until it is moved. Moving it lets whatever is due
happen in the order of its times, on both sides: timers go off in the loops that set them,
and the server's duties are done. `ManualClock` is moved by hand; `AutoClock` moves by itself
to the next timer whenever nothing else is to be done. To know that, a clock counts what is
in flight: requests at the server, and requests of clients that share the clock.
"""

import asyncio
import contextlib
import contextvars
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil, inf
from typing import Any, ClassVar, Final, Literal, NoReturn, Protocol, TypeAlias

from aiodis.errors import ConfigError

__all__ = [
    "CLOCKS",
    "SYSTEM_CLOCK",
    "AutoClock",
    "Clock",
    "ClockKind",
    "ManualClock",
    "SystemClock",
    "Timer",
]

# A float's rounding moves no timer behind the time that it was set for.
_ROUNDING_US: Final = 1e-3
_CANCELLED_KEPT: Final = 100
# Turns of the loops in which nothing is ready to run: the second sees what the sockets had.
_IDLE_TURNS: Final = 2
# Where a loop does not tell what is ready, or somebody spins: turns in which nothing happens.
_QUIET_TURNS: Final = 100
# How long a loop of another thread may take for a turn before it is not waited for.
_PATIENCE_S: Final = 1.0

ClockKind: TypeAlias = Literal["real", "manual", "auto"]


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Let it not come. After it came, this does nothing."""


class Clock(Protocol):
    """What the server and the client take every time and every wait from.

    `now` is for deadlines and spans, in seconds from an arbitrary start; `wall` and `now_ms`
    are the time since the epoch.
    """

    kind: ClassVar[ClockKind]

    def now(self) -> float:
        """Give the time that `call_at` and `timeout_at` take. Asked within a running loop."""

    def wall(self) -> float:
        """Give the seconds since the epoch."""

    def now_ms(self) -> int:
        """Give the whole milliseconds since the epoch."""

    def sleep(self, seconds: float, /) -> Awaitable[None]:
        """Wait for so long."""

    def timeout(self, seconds: float | None, /) -> AbstractAsyncContextManager[object]:
        """Give a block that ends with a TimeoutError when it takes longer."""

    def timeout_at(self, when: float | None, /) -> AbstractAsyncContextManager[object]:
        """Give a block that ends with a TimeoutError at that time."""

    def call_at(self, when: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop at that time."""

    def call_later(self, seconds: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop after so long."""

    def advance(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Move the time forward by the sum of all.

        Raises:
            ConfigError: it is the system's clock, or the sum is negative.
        """

    async def run_for(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Let so much time pass, and let all that is waited for happen on the way.

        Raises:
            ConfigError: it is the system's clock, or the sum is negative.
        """

    def when_moved(self, listener: Callable[[], None], /) -> Callable[[], None]:
        """Call `listener` each time the clock was moved; the result takes that back."""

    def sending(self, seconds: float, /) -> AbstractAsyncContextManager[object]:
        """Count a client's request as in flight meanwhile; a TimeoutError when it takes longer."""

    def serving(self) -> AbstractContextManager[object]:
        """Count a request at the server as in flight meanwhile."""

    def pausing(self, is_awaited: Callable[[], bool], /) -> AbstractContextManager[object]:
        """Count a request at the server as one that waits for the clock meanwhile.

        `is_awaited` says whether its client is still there.
        """


class SystemClock:
    """The system's time, and the running loop's: its functions are asyncio's own."""

    kind: ClassVar[ClockKind] = "real"

    wall = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)
    timeout = staticmethod(asyncio.timeout)
    timeout_at = staticmethod(asyncio.timeout_at)
    sending = staticmethod(asyncio.timeout)

    @staticmethod
    def now() -> float:
        """Give the running loop's time."""
        return asyncio.get_running_loop().time()

    @staticmethod
    def now_ms() -> int:
        """Give the whole milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    @staticmethod
    def call_at(when: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop at that time."""
        return asyncio.get_running_loop().call_at(when, callback, *args)

    @staticmethod
    def call_later(seconds: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop after so long."""
        return asyncio.get_running_loop().call_later(seconds, callback, *args)

    def advance(
        self,
        *,
        milliseconds: float = 0,  # noqa: ARG002 - the protocol's
        seconds: float = 0,  # noqa: ARG002
        minutes: float = 0,  # noqa: ARG002
        hours: float = 0,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse: nobody moves this clock."""
        raise ConfigError(
            "the system's clock cannot be moved: use ManualClock or AutoClock"
            " (aiodis serve --clock manual)"
        )

    async def run_for(
        self,
        *,
        milliseconds: float = 0,
        seconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
    ) -> None:
        """Refuse: nobody moves this clock."""
        self.advance(milliseconds=milliseconds, seconds=seconds, minutes=minutes, hours=hours)

    def when_moved(self, listener: Callable[[], None], /) -> Callable[[], None]:  # noqa: ARG002
        """Do nothing: nobody moves this clock."""
        return lambda: None

    def serving(self) -> AbstractContextManager[object]:
        """Count nothing."""
        return _NOTHING

    def pausing(self, is_awaited: Callable[[], bool], /) -> AbstractContextManager[object]:  # noqa: ARG002
        """Count nothing."""
        return _NOTHING

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A time that stands still until it is moved. It begins now, or at `start_ms`.

    Whoever waits for it waits until then: a producer's linger, a retry, an idle consumer's
    next poll. May be moved from any thread, and be shared by loops of several threads.
    """

    kind: ClassVar[ClockKind] = "manual"

    def __init__(self, start_ms: int | None = None) -> None:
        self._start_ms = SystemClock.now_ms() if start_ms is None else start_ms
        self._passed_us = 0
        self._lock = threading.RLock()
        self._timers: list[_Timer] = []
        self._cancelled = 0
        self._order = count()
        self._events = 0  # grows with all that happens
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._listeners: list[Callable[[], None]] = []
        self._flights = _Flights(self._lock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(now_ms={self.now_ms()})"

    def now(self) -> float:
        """Give the seconds since the clock was made."""
        return self._passed_us / 1e6

    def wall(self) -> float:
        """Give the seconds since the epoch."""
        return self.now_ms() / 1000

    def now_ms(self) -> int:
        """Give the whole milliseconds since the epoch."""
        return self._start_ms + self._passed_us // 1000

    # Waiting

    async def sleep(self, seconds: float, /) -> None:
        """Wait until the clock was moved so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, _resolve, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def timeout(self, seconds: float | None, /) -> AbstractAsyncContextManager[object]:
        """Give a block that ends with a TimeoutError when it takes longer."""
        return self.timeout_at(None if seconds is None else self.now() + seconds)

    @contextlib.asynccontextmanager
    async def timeout_at(self, when: float | None, /) -> AsyncIterator[object]:
        """Give a block that ends with a TimeoutError at that time."""
        async with asyncio.timeout(None) as block:
            if when is None:
                yield block
                return
            timer = self.call_at(when, block.reschedule, -inf)
            try:
                yield block
            finally:
                timer.cancel()

    def call_later(self, seconds: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop after so long."""
        return self.call_at(self.now() + seconds, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop at that time."""
        loop = asyncio.get_running_loop()
        due_us = 0 if when <= 0 else ceil(min(when, _FOR_EVER_S) * 1e6 - _ROUNDING_US)
        with self._lock:
            self._loops.add(loop)
            self._events += 1
            timer = _Timer(self, due_us, next(self._order), loop, callback, args)
            if due_us <= self._passed_us:
                timer.go_off()
            else:
                heappush(self._timers, timer)
        return timer

    # Moving

    def advance(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Move the time forward by the sum of all, at once.

        What the server does by itself until then is done when this returns, if it is called
        in the server's own thread. Timers have gone off in the order of their times; what
        waited for them runs when its loop has its turn, and sees the time at the end. Where
        each is to see its own time, and its next wait to count from there, use `run_for`.

        Raises:
            ConfigError: the sum is negative.
        """
        until_us = self._after(milliseconds, seconds, minutes, hours)
        while self._step(until_us):
            pass
        self._go_to(until_us)

    async def run_for(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Let so much time pass, and let all that is waited for happen on the way.

        Goes from timer to timer, and lets each have its consequences: tasks run, requests are
        answered, waits begin anew. Cancelled, the time stays where it got to.

        Raises:
            ConfigError: the sum is negative.
        """
        until_us = self._after(milliseconds, seconds, minutes, hours)
        await self.settle()
        while self._step(until_us):
            await self.settle()
        self._go_to(until_us)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is in flight, and nothing is left to do but to wait for the clock.

        Of requests, those are seen that clients and servers with this clock carry; and
        `busy`. Not to be called within `busy`.
        """
        with self._lock:
            self._loops.add(asyncio.get_running_loop())
        idle = quiet = 0
        events = -1
        while idle < _IDLE_TURNS and quiet < _QUIET_TURNS:
            await self._flights.landed()
            is_idle = await self._turn()
            if self._flights.are_on or self._events != events:
                events, idle, quiet = self._events, 0, 0
                continue
            quiet += 1
            idle = idle + 1 if is_idle else 0

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Let `settle`, `run_for` and an `AutoClock` wait meanwhile, for work they cannot see.

        Such as a thread, a subprocess, or another service's sockets.
        """
        with self._counted("busy"):
            yield

    # For servers and clients

    def when_moved(self, listener: Callable[[], None], /) -> Callable[[], None]:
        """Call `listener` each time the clock was moved; the result takes that back."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @contextlib.asynccontextmanager
    async def sending(self, seconds: float, /) -> AsyncIterator[object]:
        """Count a client's request as in flight meanwhile; a TimeoutError when it takes longer.

        What is under way when hours pass at once is not given up for that: only what the
        server holds up by the clock, or does not answer.
        """
        is_open = True

        def give_up() -> None:
            if is_open:
                if self._flights.are_on:
                    self._flights.landing().add_done_callback(lambda _: give_up())
                else:
                    block.reschedule(-inf)

        with self._counted("sent"):
            async with asyncio.timeout(None) as block:
                timer = self.call_later(seconds, give_up)
                try:
                    yield block
                finally:
                    is_open = False
                    timer.cancel()

    def serving(self) -> AbstractContextManager[object]:
        """Count a request at the server as in flight meanwhile."""
        return self._counted("served")

    @contextlib.contextmanager
    def pausing(self, is_awaited: Callable[[], bool], /) -> Iterator[None]:
        """Count a request at the server as one that waits for the clock meanwhile."""
        self._events += 1
        self._flights.pause(is_awaited)
        try:
            yield
        finally:
            self._events += 1
            self._flights.go_on(is_awaited)

    @contextlib.contextmanager
    def _counted(self, what: Literal["busy", "sent", "served"]) -> Iterator[None]:
        self._events += 1
        self._flights.count(what, 1)
        try:
            yield
        finally:
            self._events += 1
            self._flights.count(what, -1)

    # Inside

    def _after(self, milliseconds: float, seconds: float, minutes: float, hours: float) -> int:
        step = round((milliseconds + (seconds + 60 * minutes + 3600 * hours) * 1000) * 1000)
        if step < 0:
            raise ConfigError("a clock only goes forward")
        return self._passed_us + step

    def _step(self, until_us: float) -> bool:
        """Go to the next timer, if it is due by then, and let it go off."""
        with self._lock:
            timer = self._next()
            if timer is None or timer.due_us > until_us:
                return False
            heappop(self._timers)
            timer.has_gone_off = True
        self._go_to(timer.due_us)
        timer.go_off()
        return True

    def _next(self) -> "_Timer | None":
        while self._timers and self._timers[0].is_cancelled:
            heappop(self._timers)
            self._cancelled -= 1
        return self._timers[0] if self._timers else None

    def _go_to(self, moment_us: int) -> None:
        with self._lock:
            self._events += 1
            has_moved = moment_us > self._passed_us
            self._passed_us = max(self._passed_us, moment_us)
        if has_moved:
            for listener in tuple(self._listeners):
                listener()

    def _forget(self, timer: "_Timer") -> None:
        """Take in that a timer was cancelled; it leaves when its time comes, or in a crowd."""
        with self._lock:
            self._events += 1
            if timer.has_gone_off:
                return
            self._cancelled += 1
            if self._cancelled > max(_CANCELLED_KEPT, len(self._timers) // 2):
                self._timers = [timer for timer in self._timers if not timer.is_cancelled]
                heapify(self._timers)
                self._cancelled = 0

    async def _turn(self) -> bool:
        """Let each loop run what is ready; say whether nothing more was."""
        here = asyncio.get_running_loop()
        with self._lock:
            others = [loop for loop in self._loops if loop is not here and loop.is_running()]
        asked = [found for loop in others if (found := _ask_whether_idle(loop))]
        if not asked:
            await asyncio.sleep(0)
            return _is_idle(here)
        answers = [asyncio.wrap_future(future) for future in asked]
        await asyncio.wait(answers, timeout=_PATIENCE_S)
        return _is_idle(here) and all(answer.done() and answer.result() for answer in answers)


class AutoClock(ManualClock):
    """A time that moves by itself, to the next timer, whenever nothing else is to be done.

    So everything takes as long as its work: waits cost nothing, and minutes of them pass within
    milliseconds. It stands still while a request is in flight, and within `busy`; other work
    than the client's and the server's it does not see. May be moved by hand as well.
    """

    kind: ClassVar[ClockKind] = "auto"

    def __init__(self, start_ms: int | None = None) -> None:
        super().__init__(start_ms)
        self._driver: asyncio.Task[None] | None = None

    def call_at(self, when: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call back in the running loop at that time."""
        timer = super().call_at(when, callback, *args)
        self._drive_on()
        return timer

    async def run_for(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Wait until so much time has passed, which it does by itself.

        Raises:
            ConfigError: the sum is negative.
        """
        until_us = self._after(milliseconds, seconds, minutes, hours)
        await self.sleep((until_us - self._passed_us) / 1e6)

    def _drive_on(self) -> None:
        with self._lock:
            driver = self._driver
            if driver is None or driver.done() or driver.get_loop().is_closed():
                loop = asyncio.get_running_loop()
                self._driver = loop.create_task(self._drive(), name="aiodis-auto-clock")

    async def _drive(self) -> None:
        """Go from timer to timer while there are any."""
        try:
            while True:
                with self._lock:
                    if self._next() is None:
                        self._driver = None
                        return
                await self.settle()
                self._step(inf)
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let another loop that waits go on, where the one that drove ends."""
        here = asyncio.get_running_loop()
        with self._lock:
            if self._driver is asyncio.current_task():
                self._driver = None
            waiting = {timer.loop for timer in self._timers if not timer.is_cancelled}
        for loop in waiting - {here}:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._drive_on)


SYSTEM_CLOCK: Final = SystemClock()

CLOCKS: Final[dict[ClockKind, type[SystemClock] | type[ManualClock]]] = {
    kind.kind: kind for kind in (SystemClock, ManualClock, AutoClock)
}
"""The clocks by their kind."""

_NOTHING: Final = nullcontext()
_FOR_EVER_S: Final = 1e9


class _Timer:
    """One call to come. It runs in the loop and the context in which it was set."""

    __slots__ = (
        "_args",
        "_callback",
        "_clock",
        "_context",
        "_order",
        "due_us",
        "has_gone_off",
        "is_cancelled",
        "loop",
    )

    def __init__(
        self,
        clock: ManualClock,
        due_us: int,
        order: int,
        loop: asyncio.AbstractEventLoop,
        callback: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        self._clock, self.due_us, self._order, self.loop = clock, due_us, order, loop
        self._callback, self._args = callback, args
        self._context = contextvars.copy_context()
        self.is_cancelled = self.has_gone_off = False

    def __lt__(self, other: "_Timer") -> bool:
        return (self.due_us, self._order) < (other.due_us, other._order)

    def cancel(self) -> None:
        """Let it not come."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._clock._forget(self)  # noqa: SLF001 - one and the same thing

    def go_off(self) -> None:
        """Call back when the loop has its turn; a loop that is closed waits for nothing."""
        self.has_gone_off = True
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._run, context=self._context)

    def _run(self) -> None:
        if not self.is_cancelled:
            self._callback(*self._args)


class _Flights:
    """What is in flight. A request between a client and a server of one clock counts on both sides.

    Invariant: `served` includes the requests that pause; those that their clients still
    wait for are among `sent`, where the client shares the clock.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._counts = {"busy": 0, "sent": 0, "served": 0}
        self._paused: list[Callable[[], bool]] = []
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def are_on(self) -> bool:
        """Whether anything is in flight that does not wait for the clock."""
        counts = self._counts
        if counts["busy"] or counts["served"] > len(self._paused):
            return True
        return counts["sent"] > sum(is_awaited() for is_awaited in tuple(self._paused))

    def count(self, what: Literal["busy", "sent", "served"], change: int) -> None:
        """Take in that something begins, or ends."""
        with self._lock:
            self._counts[what] += change
            self._tell()

    def pause(self, is_awaited: Callable[[], bool]) -> None:
        """Take in that a request at the server waits for the clock."""
        with self._lock:
            self._paused.append(is_awaited)
            self._tell()

    def go_on(self, is_awaited: Callable[[], bool]) -> None:
        """Take in that it waits no longer."""
        with self._lock:
            self._paused.remove(is_awaited)

    async def landed(self) -> None:
        """Wait until nothing is in flight."""
        while self.are_on:
            await self.landing()

    def landing(self) -> asyncio.Future[None]:
        """Give what is done as soon as nothing is in flight."""
        waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiters.append(waiter)
            self._tell()
        return waiter

    def _tell(self) -> None:
        if self._waiters and not self.are_on:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    waiter.get_loop().call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _is_idle(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether nothing is ready to run; False where the loop does not tell. Asked within it."""
    return not getattr(loop, "_ready", True)


def _ask_whether_idle(loop: asyncio.AbstractEventLoop) -> "Future[bool] | None":
    """Let another thread's loop have a turn and answer; None where it is closed."""
    answer: Future[bool] = Future()

    def tell() -> None:
        if answer.set_running_or_notify_cancel():
            answer.set_result(_is_idle(loop))

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return None
    return answer
