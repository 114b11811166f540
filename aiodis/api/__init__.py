"""The table of operations: one module a chapter of the service's reference, one row an operation.

Client, embedded server, docs and tests read the same rows.
"""

from typing import Any, Final

from aiodis.api.apps import Apps
from aiodis.api.checkpoints import Checkpoints
from aiodis.api.events import Events
from aiodis.api.groups import Groups
from aiodis.api.metrics import Metrics
from aiodis.api.policies import Policies
from aiodis.api.quotas import Quotas
from aiodis.api.records import Records
from aiodis.api.streams import Streams
from aiodis.api.tags import Tags
from aiodis.api.transfer_tasks import TransferTasks
from aiodis.wire.operation import Operation

__all__ = [
    "OPERATIONS",
    "Apps",
    "Checkpoints",
    "Events",
    "Groups",
    "Metrics",
    "Operation",
    "Policies",
    "Quotas",
    "Records",
    "Streams",
    "Tags",
    "TransferTasks",
]

_CHAPTERS: Final = (
    Streams,
    Policies,
    Apps,
    Checkpoints,
    Records,
    TransferTasks,
    Metrics,
    Tags,
    Quotas,  # the reference does not have these
    Events,
    Groups,
)

OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = tuple(
    row for chapter in _CHAPTERS for row in chapter.operations()
)
"""Every row, in the order of the reference; then those that the reference does not have."""
