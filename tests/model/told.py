"""How the model says what it expects: refusals, and values that only the service can choose."""

import json
from base64 import urlsafe_b64decode
from typing import NamedTuple

__all__ = ["CursorAt", "Is", "No", "OneOf", "Opaque", "Place", "Unordered"]


class No(Exception):  # noqa: N818 - the service's, as `Refusal` is
    """The service refuses. Where several things are wrong, nobody knows which it names."""

    def __init__(self, *codes, status=400):
        self.codes = frozenset(f"DIS.{code}" for code in codes)
        self.status = status
        super().__init__(*sorted(self.codes))


class Opaque:
    """A text of the service's choice: unknown until it is seen, and the same ever after."""

    def __init__(self):
        self.value = None

    def __eq__(self, other):
        if self.value is None and isinstance(other, str) and other:
            self.value = other
        return self.value is not None and self.value == other

    __hash__ = None

    def __repr__(self):
        return f"<opaque {self.value}>"


class Is:
    """Anything that passes a check."""

    def __init__(self, check, what="something else"):
        self.check, self.what = check, what

    def __eq__(self, other):
        return bool(self.check(other))

    __hash__ = None

    def __repr__(self):
        return f"<{self.what}>"


class OneOf(Is):
    """One of several, where the reference leaves it open."""

    def __init__(self, *values):
        super().__init__(lambda found: any(value == found for value in values), f"of {values}")


class Unordered(Is):
    """A list whose order nobody promises."""

    def __init__(self, values):
        super().__init__(lambda found: _same(list(values), found), f"in any order {values}")


class Place(NamedTuple):
    """What a cursor stands for."""

    stream_name: str
    stream_id: object
    partition_id: str
    number: int
    issued_ms: int


class CursorAt(Is):
    """A cursor to a place, read as the vendor's Kafka adapter reads it (facts 2.4).

    One that fits is put into `known`, since only the service makes cursors.
    """

    def __init__(self, known, place, kind):
        self.known, self.place, self.kind = known, place, kind
        # It tells the number that was asked for, and means the one after it.
        self.shown = place.number - (kind == "AFTER_SEQUENCE_NUMBER")
        super().__init__(self._fits, f"{kind} cursor to {place}")

    def _fits(self, cursor):
        assert 1 <= len(cursor) <= 512
        whole = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        param = whole["getIteratorParam"]
        found = (param["stream-name"], param["partition-id"], param["cursor-type"])
        numbers = (int(param["starting-sequence-number"]), whole["generateTimestamp"])
        place = self.place
        self.known[cursor] = place
        return found == (place.stream_name, place.partition_id, self.kind) and numbers == (
            self.shown,
            place.issued_ms,
        )


def _same(left, right):
    rest = list(right)
    for value in left:
        index = next((at for at, other in enumerate(rest) if value == other), None)
        if index is None:
            return False
        del rest[index]
    return not rest
