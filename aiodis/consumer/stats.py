"""What a consumer counted."""

from dataclasses import dataclass

__all__ = ["ConsumerStats"]


@dataclass(slots=True)
class ConsumerStats:
    """Counts since the consumer started.

    `bytes` are of data. `retries` are of reads. `handled`, `handler_retries`, `dead_letters`
    and `skipped` are records of `run`. `assigned`, `revoked` and `lost` are partitions.
    """

    records: int = 0
    bytes: int = 0
    fetches: int = 0
    empty_fetches: int = 0
    cursors: int = 0
    retries: int = 0
    commits: int = 0
    failed_commits: int = 0
    resets: int = 0
    handled: int = 0
    handler_retries: int = 0
    dead_letters: int = 0
    skipped: int = 0
    assigned: int = 0
    revoked: int = 0
    lost: int = 0
