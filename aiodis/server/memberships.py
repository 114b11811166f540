"""The groups of all apps, on the streams that there are.

Who is a member is kept in memory, generations in the catalog: decision 0010.
"""

import re
from typing import Final

from aiodis.server import guesses
from aiodis.server.group import Group, Interest, Partition, Readable
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream
from aiodis.server.storage.generations import Generations

__all__ = ["Memberships"]


class Memberships:
    """Finds an app's group as it is now, and keeps its generation."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._generations: Final = Generations(state.catalog.connection)
        self._groups: dict[str, Group] = {}

    def group(self, app_name: str, now_ms: int) -> Group:
        """Give an app's group, with all that was due having happened; the app must exist."""
        group = self._groups.get(app_name)
        if group is None:
            group = self._groups[app_name] = Group(self._generations.load(app_name))
        before = group.generation
        group.settle(now_ms, self._readable(now_ms))
        self._keep(app_name, group, before)
        return group

    def peek(self, app_name: str) -> Group | None:
        """Give an app's group as it was when somebody last asked; None if nobody did."""
        return self._groups.get(app_name)

    def join(
        self,
        app_name: str,
        client_id: str,
        interest: Interest,
        now_ms: int,
        *,
        window_ms: int | None,
        accelerates: bool,
    ) -> int:
        """Take a member into an app's group; give the time until it should sync.

        Raises:
            Refusal: the group is full.
        """
        group = self.group(app_name, now_ms)
        full = len(group.members) >= guesses.MEMBERS_PER_GROUP
        if self._state.limited and full and client_id not in group.members:
            raise Refusal("DIS.4339", f"{guesses.MEMBERS_PER_GROUP} consumers")
        before = group.generation
        wait_ms = group.join(
            client_id,
            interest,
            now_ms,
            self._readable(now_ms),
            window_ms=window_ms,
            accelerates=accelerates,
        )
        self._keep(app_name, group, before)
        return wait_ms

    def forget(self, app_name: str, now_ms: int) -> None:
        """Forget the group of an app that is to be removed.

        Raises:
            Refusal: it has members.
        """
        if self.group(app_name, now_ms).members:
            raise Refusal("DIS.4331", app_name)
        del self._groups[app_name]

    def check_commit(
        self, app_name: str, client_id: str | None, generation: int | None, now_ms: int
    ) -> None:
        """See that a commit may be taken; one that names neither always may.

        Raises:
            Refusal: it may not.
        """
        if client_id is None and generation is None:
            return
        if code := self.group(app_name, now_ms).refuses(client_id, generation):
            raise Refusal(code, app_name)

    def understands(self, interest: Interest, now_ms: int) -> bool:
        """Say whether an interest names streams, all of which exist, or a pattern that is one."""
        if interest.pattern is not None:
            return _compiled(interest.pattern) is not None
        found = self.streams(interest, now_ms)
        return bool(found) and len(found) == len({*interest.names, *interest.ids})

    def streams(self, interest: Interest, now_ms: int) -> dict[str, Stream]:
        """Give the streams of an interest that exist, by what the member calls them."""
        called = [*interest.names, *interest.ids]
        if interest.pattern is not None and (pattern := _compiled(interest.pattern)):
            names = [stream.row.stream_name for stream in self._state.streams()]
            called += [name for name in names if pattern.fullmatch(name)]
        return {name: self._state.find(name, now_ms) for name in called if self._state.peek(name)}

    def _readable(self, now_ms: int) -> Readable:
        def readable(interest: Interest) -> set[Partition]:
            return {
                Partition(stream.row.stream_id, number)
                for stream in self.streams(interest, now_ms).values()
                for number, partition in enumerate(stream.row.partitions)
                if partition.status != "EXPIRED"
            }

        return readable

    def _keep(self, app_name: str, group: Group, before: int) -> None:
        # Before anybody is told of it: a start must never count it again.
        if group.generation != before:
            self._generations.save(app_name, group.generation)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
