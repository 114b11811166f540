"""What the reader wrote down, against what was sent. Plain code."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Tally", "tally"]


class Tally(NamedTuple):
    """Counts of events; `out_of_order_keys` counts keys, each once."""

    received: int
    lost: int
    duplicates: int
    out_of_order_keys: int


def tally(keys: Sequence[str], numbers: "array[int]") -> Tally:
    """Compare the numbers received, in order of receipt, with the keys sent, by number.

    A second receipt of an event is a duplicate. A key is out of order when an
    event of it came for the first time after a later one.
    """
    seen = bytearray(len(keys))
    newest: dict[str, int] = {}
    disordered: set[str] = set()
    duplicates = 0
    for number in numbers:
        if seen[number]:
            duplicates += 1
            continue
        seen[number] = 1
        key = keys[number]
        if number < newest.get(key, -1):
            disordered.add(key)
        else:
            newest[key] = number
    received = sum(seen)
    return Tally(received, len(keys) - received, duplicates, len(disordered))
