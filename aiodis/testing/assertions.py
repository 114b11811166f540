"""What tests of producers and consumers assert: delivered, in order, without gaps.

Each raises AssertionError that names the first records in question. They take any records
that have a partition and a sequence number: what `Sandbox.records` gives, or what a
consumer handed out.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from aiodis.producer import Receipt
from aiodis.record import ReceivedRecord, RecordMetadata

__all__ = [
    "Sent",
    "assert_delivered",
    "assert_key_order",
    "assert_no_duplicates",
    "assert_no_gaps",
]

Sent: TypeAlias = tuple[Receipt | RecordMetadata, bytes]
"""What `send` gave for a record, and the record's data as it went in."""

_SHOWN: Final = 5
_SHOWN_BYTES: Final = 40


def assert_delivered(records: Iterable[ReceivedRecord], sent: Iterable[Sent]) -> None:
    """Assert that each record that was sent is where its receipt says, with the same bytes.

    Other records may be there as well. A receipt that has no outcome yet, or an error, is a
    failure too: `await producer.flush()` first.
    """
    there = {(record.partition_id, record.sequence_number): record.data for record in records}
    wrong: list[str] = []
    total = 0
    for receipt, data in sent:
        total += 1
        if (found := _undelivered(receipt, data, there)) is not None:
            wrong.append(found)
    _check(wrong, f"{len(wrong)} of {total} records are not delivered")


def assert_key_order(
    records: Iterable[ReceivedRecord], sent: Iterable[tuple[str, bytes]], *, complete: bool = True
) -> None:
    """Assert that each key's records are in the order in which they were sent.

    `sent` are keys and data, in the order of sending. A record that is there again, since
    an answer was lost, does not count, and neither do other records. Data that are sent
    twice under one key cannot be told apart. With `complete=False` some may be missing.
    """
    expected: dict[str, list[bytes]] = defaultdict(list)
    for key, data in sent:
        expected[key].append(data)
    found: dict[str, dict[bytes, None]] = defaultdict(dict)
    for record in records:
        if record.partition_key is not None:
            found[record.partition_key].setdefault(record.data)
    wrong = [
        f"key {key!r}: {problem}"
        for key, order in expected.items()
        if (problem := _disorder(order, list(found[key]), complete=complete))
    ]
    _check(wrong, f"{len(wrong)} of {len(expected)} keys are out of order")


def assert_no_gaps(records: Iterable[ReceivedRecord]) -> None:
    """Assert that within each partition no sequence number is left out.

    They need not begin at 0, and may repeat. *Guessed*: the real service's numbers are said
    to be dense; the embedded DIS' are.
    """
    wrong = [
        f"partition {partition_id}: {low} is followed by {high}"
        for partition_id, numbers in _numbers(records).items()
        for low, high in pairwise(sorted(set(numbers)))
        if high != low + 1
    ]
    _check(wrong, f"{len(wrong)} gaps in the sequence numbers")


def assert_no_duplicates(
    records: Iterable[ReceivedRecord],
    *,
    by: Callable[[ReceivedRecord], Hashable] = lambda record: (
        f"partition {record.partition_id}, sequence number {record.sequence_number}"
    ),
) -> None:
    """Assert that no record is there twice: none was handed out again.

    `by` says which records are the same: by default those of one partition and sequence
    number. With `by=lambda record: record.data` it finds what a producer stored twice.
    """
    counts = Counter(map(by, records))
    wrong = [f"{_shown(same)} {count} times" for same, count in counts.items() if count > 1]
    _check(wrong, f"{len(wrong)} records are there more than once")


def _undelivered(
    receipt: Receipt | RecordMetadata, data: bytes, there: dict[tuple[str, int], bytes]
) -> str | None:
    if isinstance(receipt, Receipt):
        if not receipt.done():
            return f"{_shown(data)} has no outcome yet"
        outcome = receipt.outcome()
        if not isinstance(outcome, RecordMetadata):
            return f"{_shown(data)} failed: {outcome}"
        receipt = outcome
    where = f"partition {receipt.partition_id}, sequence number {receipt.sequence_number}"
    found = there.get((receipt.partition_id, receipt.sequence_number))
    if found is None:
        return f"{_shown(data)} is not in {where}"
    return None if found == data else f"{_shown(data)} is {_shown(found)} in {where}"


def _disorder(expected: Sequence[bytes], found: Sequence[bytes], *, complete: bool) -> str | None:
    """Say where the records of a key are otherwise than expected."""
    places = {data: place for place, data in enumerate(dict.fromkeys(expected))}
    kept = [data for data in found if data in places]
    for before, after in pairwise(kept):
        if places[before] > places[after]:
            return f"{_shown(after)} comes after {_shown(before)}"
    if complete and len(kept) < len(places):
        missing = next(data for data in places if data not in found)
        return f"{_shown(missing)} is missing"
    return None


def _numbers(records: Iterable[ReceivedRecord]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for record in records:
        numbers[record.partition_id].append(record.sequence_number)
    return numbers


def _shown(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    return repr(value) if len(value) <= _SHOWN_BYTES else f"{value[:_SHOWN_BYTES]!r}…"


def _check(wrong: Sequence[str], summary: str) -> None:
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise AssertionError("\n  ".join([f"{summary}:", *wrong[:_SHOWN], *more]))
