"""`ordering="key"`: one record of a key on its way at a time. Plain code.

A request may fail in part, and nobody tells which part (facts 5.1). So two records
of one key never travel together: the later one waits here until the earlier
one has its outcome, wherever the key's partition is by then.
"""

from collections import deque

from aiodis.producer.accumulator import Entry

__all__ = ["KeyOrder"]


class KeyOrder:
    """Holds back records whose key is busy.

    Invariant: a key is in `_waiting` exactly while one of its records is on its
    way; records of a paused key are neither on their way nor held.
    """

    def __init__(self, *, pauses: bool) -> None:
        self._pauses = pauses
        self._waiting: dict[str, deque[Entry]] = {}
        self._paused: set[str] = set()

    def is_paused(self, key: str | None) -> bool:
        """Say whether the key stopped after a record that failed for good."""
        return key in self._paused

    def admit(self, entry: Entry) -> bool:
        """Say whether a record may go on its way now; else it is held."""
        key = entry.partition_key
        if key is None:
            return True
        held = self._waiting.get(key)
        if held is None:
            self._waiting[key] = deque()
            return True
        held.append(entry)
        return False

    def delivered(self, entry: Entry) -> Entry | None:
        """Take in a delivery; give the key's next record, which may go now."""
        key = entry.partition_key
        held = self._waiting.get(key) if key is not None else None
        while held:
            following = held.popleft()
            if not following.settled:
                return following
        if key is not None:
            self._waiting.pop(key, None)
        return None

    def failed(self, entry: Entry) -> list[Entry]:
        """Take in a failure for good; give the key's other records, which fail with it.

        Where failures do not pause, none of them does, and the next is asked for
        with `delivered`.
        """
        key = entry.partition_key
        if key is None or not self._pauses:
            return []
        self._paused.add(key)
        held = self._waiting.get(key)
        others = list(held or ())
        if entry.admitted:
            self._waiting.pop(key, None)
        elif held is not None:
            held.clear()  # the key stays busy: the record before this one is still on its way
        return others

    @property
    def paused(self) -> frozenset[str]:
        """The paused keys."""
        return frozenset(self._paused)

    def resume(self, key: str) -> None:
        """Let a paused key go on."""
        self._paused.discard(key)

    def drain(self) -> list[Entry]:
        """Take off every record that is held."""
        held = [entry for entries in self._waiting.values() for entry in entries]
        for entries in self._waiting.values():
            entries.clear()
        return held

    def expired(self, now: float) -> list[Entry]:
        """Take off the held records whose time is over: the oldest of their keys."""
        gone: list[Entry] = []
        for entries in self._waiting.values():
            while entries and entries[0].deadline <= now:
                gone.append(entries.popleft())
        return gone
