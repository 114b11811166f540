"""A consumer's place in a group that the service coordinates: what acts on `Membership`.

The service's protocol is *seen in the SDK* (the vendor's Kafka adapter), not in
the public reference (facts 6.4).
"""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
from dataclasses import dataclass
from math import inf
from typing import Final, assert_never

from aiodis.api.groups import Groups
from aiodis.consumer.coordinator.membership import (
    SILENCE_MS,
    Assigned,
    Effect,
    HandOver,
    Impossible,
    Lost,
    Membership,
)
from aiodis.consumer.coordinator.protocol import Fence, Host, Seat
from aiodis.errors import ClosedError, ConfigError, DISError, ParameterError, ServiceError
from aiodis.record import partition_name

__all__ = ["DISGroup", "GroupCoordinator"]

_log = logging.getLogger("aiodis.consumer")

_LEAVE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class DISGroup:
    """A share of a stream's partitions that the service gives, among all who ask for the same app.

    *Seen in the SDK* (the vendor's Kafka adapter), not in the public reference.

    `client_id` names the member; no two that live may have the same. None makes a new
    one for each consumer. With a fixed one, such as a pod's name, a process that
    was killed and comes back takes its own place at once, instead of waiting
    until the service has missed it for a minute.

    `rebalance_timeout_ms` is how long members have for joining again when one comes or
    goes, so also the longest that a hand-over may take; nobody reads for so long. It
    should be the same for all members.
    """

    client_id: str | None = None
    heartbeat_interval_ms: int = 10_000
    rebalance_timeout_ms: int = 20_000

    def __post_init__(self) -> None:
        if self.client_id is not None:
            try:
                Groups.leave.build(app_name="a", client_id=self.client_id)
            except ParameterError as exc:
                raise ConfigError(f"DISGroup: client_id={self.client_id!r}: {exc.rule}") from None
        if self.heartbeat_interval_ms <= 0:
            raise ConfigError("DISGroup: heartbeat_interval_ms must be above 0")
        if self.heartbeat_interval_ms * 2 > min(self.rebalance_timeout_ms, SILENCE_MS):
            raise ConfigError(
                "DISGroup: heartbeat_interval_ms must be at most half of rebalance_timeout_ms,"
                f" and of the {SILENCE_MS:,} after which the service drops a member"
            )

    def __call__(self, seat: Seat) -> "GroupCoordinator":
        """Make the coordinator of one consumer."""
        return GroupCoordinator(self, seat)


class GroupCoordinator:
    """Holds one consumer's place in a group, with one task that asks the service."""

    follows_stream = False

    def __init__(self, group: DISGroup, seat: Seat) -> None:
        self.client_id: Final = group.client_id or _new_client_id()
        self._app, self._stream_name = seat.settings.app, seat.stream_name
        self._groups, self._clock = Groups(seat.exchange), seat.clock
        self._rebalance_timeout_ms = group.rebalance_timeout_ms
        self._interval_s = group.heartbeat_interval_ms / 1000
        self._member = Membership(self._interval_s, group.rebalance_timeout_ms / 1000)
        self._host: Host | None = None
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._has_joined = False

    def __repr__(self) -> str:
        return f"<GroupCoordinator app={self._app!r} client_id={self.client_id!r}>"

    async def open(self, host: Host) -> None:
        """Begin to take part. A service that is down is no error: it is asked until it answers."""
        self._host = host
        self._task = asyncio.create_task(self._take_part(host), name=f"{self!r}")

    def held_until(self, partition_id: str) -> float:
        """Give when the last good heartbeat holds no longer, if the partition is held."""
        return self._member.held_until if partition_id in self._member.held else -inf

    def fence(self) -> Fence:
        """Give the last generation that there was: also without a place commits are checked."""
        return Fence(self.client_id, self._member.generation)

    def fenced(self, fence: Fence) -> None:
        """Give up what is held, and join again."""
        effect = self._member.fenced(fence.generation_id, self._clock.now())
        if isinstance(effect, Lost) and self._host is not None:
            self._log_lost(effect)
            # Not at once: the consumer is in the middle of a commit.
            asyncio.get_running_loop().call_soon(self._host.lost, effect.partition_ids)
            self._woken.set()

    async def close(self) -> None:
        """Leave. Cancelled, or with a service that is down, the others wait until it is missed."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._has_joined:
            self._has_joined = False
            try:
                async with self._clock.timeout(_LEAVE_S):
                    await self._groups.leave(app_name=self._app, client_id=self.client_id)
            except (DISError, TimeoutError) as exc:
                _log.warning("app %s: %s could not leave: %s", self._app, self.client_id, exc)

    # The task

    async def _take_part(self, host: Host) -> None:
        try:
            while await self._act(host, await self._next()):
                pass
        except ClosedError:
            return  # the client was closed, and this consumer is about to be
        except Exception as exc:  # noqa: BLE001 - reading must not stop in silence
            _log.exception("app %s: %s failed", self._app, self.client_id)
            host.failed(exc)

    async def _next(self) -> Effect:
        """Wait until something is due, do it, and give what follows."""
        member = self._member
        self._woken.clear()
        due = min(member.due, member.lost_at)
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout_at(due):
                await self._woken.wait()
                return None  # what is due has changed
        now = max(self._clock.now(), due)  # a timer may go off a hair early
        return member.expire(now) or await self._ask()

    async def _ask(self) -> Effect:
        member = self._member
        step, generation = member.step, member.generation
        longest = self._interval_s if step != "beat" else self._interval_s / 2
        began = self._clock.now()
        try:
            async with self._clock.timeout_at(min(began + longest, member.lost_at)):
                match step:
                    case "join":
                        return await self._join()
                    case "sync":
                        return await self._sync()
                    case "beat":
                        return await self._beat(began)
                    case _:
                        assert_never(step)
        except ClosedError:
            raise
        except (DISError, TimeoutError) as exc:
            why = exc if isinstance(exc, DISError) else "no answer in time"
            _log.warning("app %s: %s of %s failed: %s", self._app, step, self.client_id, why)
            if step == "join" and isinstance(exc, ServiceError) and not exc.retryable:
                return Impossible(exc)
            if (step, generation) == (member.step, member.generation):
                member.failed(self._clock.now())
            return None

    async def _join(self) -> Effect:
        self._has_joined = True  # perhaps, even if no answer comes
        answer = await self._groups.join(
            app_name=self._app,
            client_id=self.client_id,
            stream_names=[self._stream_name],
            rebalance_timeout_ms=self._rebalance_timeout_ms,
        )
        return self._member.joined(answer.state, answer.sync_delay_ms / 1000, self._clock.now())

    async def _sync(self) -> Effect:
        answer = await self._groups.sync(
            app_name=self._app, client_id=self.client_id, generation=self._member.generation
        )
        numbers = answer.assignment.get(self._stream_name, ())
        partition_ids = [partition_name(number) for number in numbers]
        return self._member.synced(
            answer.state, answer.generation, partition_ids, self._clock.now()
        )

    async def _beat(self, began: float) -> Effect:
        answer = await self._groups.heartbeat(
            app_name=self._app, client_id=self.client_id, generation=self._member.generation
        )
        if self._member.step != "beat":
            return None  # a refused commit was faster
        return self._member.beaten(answer.state, began, self._clock.now())

    async def _act(self, host: Host, effect: Effect) -> bool:
        """Tell the consumer what follows; say whether to go on."""
        match effect:
            case Assigned(partition_ids):
                _log.info("app %s: %s has %s", self._app, self.client_id, partition_ids)
                host.assigned(partition_ids)
            case HandOver(partition_ids, until):
                await self._hand_over(host, partition_ids, until)
            case Lost(partition_ids):
                self._log_lost(effect)
                host.lost(partition_ids)
            case Impossible(error):
                host.failed(error)
                return False
            case None:
                pass
            case _:
                assert_never(effect)
        return True

    async def _hand_over(self, host: Host, partition_ids: tuple[str, ...], until: float) -> None:
        """Let the consumer finish, as long as nobody else may have begun."""
        _log.info("app %s: %s hands %s over", self._app, self.client_id, partition_ids)
        alarm = self._clock.call_at(until, host.lost, partition_ids)
        try:
            await host.revoke(partition_ids, until)
        finally:
            alarm.cancel()
        self._member.released(self._clock.now())

    def _log_lost(self, lost: Lost) -> None:
        _log.warning("app %s: %s lost %s", self._app, self.client_id, lost.partition_ids)


def _new_client_id() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:100] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
