"""What the embedded DIS keeps on disk: a log of records for each stream, and the catalog."""

from aiodis.server.storage.frame import LogDamagedError, PutBlock
from aiodis.server.storage.record_log import RecordLog, SegmentContent, Slice
from aiodis.server.storage.recovery import Recovery, holds_records

__all__ = [
    "LogDamagedError",
    "PutBlock",
    "RecordLog",
    "Recovery",
    "SegmentContent",
    "Slice",
    "holds_records",
]
