"""Scaling as plain code: which partitions there are afterwards, and how often it may happen."""

from collections.abc import Iterable, Sequence
from typing import Final

from aiodis.server.storage.catalog import PartitionRow, ScalingRow

__all__ = ["HOUR_MS", "MOST_PER_HOUR", "next_allowed_ms", "partitions_after"]

HOUR_MS: Final = 3_600_000

# Per stream (*documented*, facts 3). An older page says 5 in all, and none in the hour after
# one that went well; it contradicts the newer one, which counts here.
MOST_PER_HOUR: Final = {"automatic scale-up": 10, "manual scale-up": 10, "scale-down": 1}


def partitions_after(
    partitions: Sequence[PartitionRow], target: int, now_ms: int
) -> tuple[PartitionRow, ...]:
    """Give the partitions with `target` ACTIVE ones.

    Down: the highest ACTIVE ones become DELETED (guesses.HIGHEST_PARTITIONS_GO_FIRST). Up:
    DELETED ones come back first, then EXPIRED ones, each from the lowest, then new ones
    (facts 4).
    """
    after = list(partitions)
    active = [n for n, partition in enumerate(after) if partition.status == "ACTIVE"]
    for number in active[target:]:
        after[number] = PartitionRow("DELETED", now_ms)
    missing = max(0, target - len(active))
    back = [n for s in ("DELETED", "EXPIRED") for n, p in enumerate(partitions) if p.status == s]
    for number in back[:missing]:
        after[number] = PartitionRow()
    after += [PartitionRow()] * (missing - len(back))
    return tuple(after)


def next_allowed_ms(scalings: Iterable[ScalingRow], kind: str, now_ms: int) -> int:
    """Tell when one more scaling of a kind may happen: `now_ms`, or later.

    Those of the last hour count that went well.
    """
    times = sorted(
        scaling.at_ms
        for scaling in scalings
        if scaling.is_done and scaling.at_ms > now_ms - HOUR_MS and kind_of(scaling) == kind
    )
    most = MOST_PER_HOUR[kind]
    return now_ms if len(times) < most else times[-most] + HOUR_MS


def kind_of(scaling: ScalingRow) -> str:
    """Tell which of the hourly numbers a scaling belongs to."""
    if scaling.target < scaling.source:
        return "scale-down"
    return "automatic scale-up" if scaling.is_auto else "manual scale-up"
