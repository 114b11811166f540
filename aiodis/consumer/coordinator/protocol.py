"""What decides which partitions a consumer reads, and what the consumer offers to it.

A `Coordinator` speaks for one consumer: it says what is assigned, and calls the
consumer, its `Host`, when that changes. Partition ids are in the full form,
`shardId-0000000000`. Times are the clock's `now`; no clocks of two machines are compared.
"""

from collections.abc import Collection
from math import inf
from typing import NamedTuple, Protocol

from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import ConsumerSettings
from aiodis.record import Fence
from aiodis.transport.exchange import Exchange

__all__ = ["Coordinator", "Fence", "Host", "Seat"]


class Seat(NamedTuple):
    """What a coordinator is made of: which consumer it speaks for, and the way to the service."""

    exchange: Exchange
    stream_name: str
    settings: ConsumerSettings
    clock: Clock = SYSTEM_CLOCK


class Host(Protocol):
    """The consumer as its coordinator sees it. Called from the event loop."""

    def assigned(self, partition_ids: Collection[str]) -> None:
        """Begin with these. Returns at once, and trouble to begin is the consumer's own.

        Those that it reads already go on: so is told that an ownership which had
        lapsed was confirmed. Those that are not readable yet begin when they are.
        None at all is told too, since `wait_ready` waits for the first call. By then
        `held_until` has to say that they are held.
        """

    async def revoke(self, partition_ids: Collection[str], until: float = inf) -> None:
        """Hand these over; when it returns, nothing more of them is delivered or committed.

        Waits for handlers, and for the records that the user has in hand, then calls
        `on_revoked` and commits, all within `handoff_timeout_ms` and before the
        time `until`, when another member may begin with them. It does not
        raise for a commit that fails. The commit carries `fence()` as it is then,
        so the place has to be kept until this returns.
        """

    def lost(self, partition_ids: Collection[str]) -> None:
        """Stop with these at once: another member may have them. Nothing is committed.

        Also ends a `revoke` of them that is under way.
        """

    def failed(self, error: BaseException) -> None:
        """End reading with an error that no retry mends."""


class Coordinator(Protocol):
    """One consumer's place among the members that share a stream's partitions."""

    @property
    def follows_stream(self) -> bool:
        """Whether partitions that appear are this member's by `held_until` alone.

        Then the consumer finds them by itself, and where a partition without a
        checkpoint starts is decided by this member's other partitions. Else `assigned`
        tells of each, and all of the stream's checkpoints decide.
        """

    async def open(self, host: Host) -> None:
        """Take part. May return before anything is assigned; cancelled, it takes no part.

        Raises:
            DISError: what makes it impossible.
        """

    def held_until(self, partition_id: str) -> float:
        """Give the time up to which nobody else can own a partition; cheap.

        `inf` for ever, `-inf` for one that is not this member's. Asked before a batch
        is handed out, and again where the time it gave has passed, so a process
        that was stopped does not deliver what it has lost without knowing it. A
        time that has passed withholds the partition until `Host.assigned` or
        `Host.lost` is called for it.
        """

    def fence(self) -> Fence | None:
        """Give what commits carry now, if anything."""

    def fenced(self, fence: Fence) -> None:
        """Take in that the service refused a commit with this fence (DIS.4702, 4703)."""

    async def close(self) -> None:
        """Leave, so that others take over at once. All partitions were handed over before.

        May be repeated, and without `open`. Cancelled when the time to close is
        over, it leaves no task behind.
        """
