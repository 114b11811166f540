"""Which files a dump makes of records: their directories, names and contents.

A file's name is its task's, its partition's and its first record's. So a delivery
that is repeated, since the position after it was not kept, writes the same file
once more.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from aiodis.api.destinations import ObsDestination, ProcessingSchema
from aiodis.record import partition_name

__all__ = ["files_of", "time_in"]

_STEPS: Final = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_MAX_MS: Final = 253_402_300_799_999  # the last one of the year 9999

TimeOf = Callable[[bytes], int | None]


def files_of(
    destination: ObsDestination,
    task_id: str,
    partition: int,
    first_sequence: int,
    records: Sequence[bytes],
    now_ms: int,
) -> Mapping[str, bytes]:
    """Give the files of consecutive records of a partition, by their paths in the bucket.

    There is one, unless the records' own times lead them into several directories.
    """
    name = f"{task_id}_{partition_name(partition)}_{first_sequence:019d}"
    end = (destination.record_delimiter or "\n").encode()
    prefix = [step for step in (destination.file_prefix or "").split("/") if step]
    pattern = _pattern(destination.partition_format or "")
    groups: defaultdict[str, list[bytes]] = defaultdict(list)
    schema = destination.processing_schema
    if schema is None or not pattern:
        # The delivery's time: guesses.DIRECTORY_TIME_IS_THE_DELIVERYS.
        groups[_directory(pattern, now_ms)] = list(records)
    else:
        for data in records:
            # What has no time of its own goes by the delivery's: guesses.TIMELESS_RECORDS_ARE_KEPT.
            at_ms = time_in(data, schema)
            groups[_directory(pattern, now_ms if at_ms is None else at_ms)].append(data)
    # guesses.DELIMITER_ENDS_EACH_RECORD
    return {
        "/".join(step for step in (*prefix, directory, name) if step): end.join((*group, b""))
        for directory, group in groups.items()
    }


def time_in(data: bytes, schema: ProcessingSchema) -> int | None:
    """Read the time that a JSON record tells, in milliseconds; None where it tells none."""
    try:
        value = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get(schema.timestamp_name)
        told = None if value is None else msgspec.json.decode(value, type=int | str)
        if told is None:
            return None
        if schema.timestamp_type == "Timestamp":
            at_ms = int(told)
        else:
            pattern = _pattern(schema.timestamp_format or "")
            at_ms = round(_utc(str(told), pattern).timestamp() * 1000)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return at_ms if 0 <= at_ms <= _MAX_MS else None


def _pattern(text: str) -> str:
    """Turn the service's letters into those of `strftime`."""
    for letters, code in _STEPS.items():
        text = text.replace(letters, code)
    return text


def _utc(text: str, pattern: str) -> datetime:
    return datetime.strptime(text, pattern).replace(tzinfo=UTC)  # guesses.DUMP_TIMES_ARE_UTC


def _directory(pattern: str, at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(pattern)
