"""The asyncio toolkit for Huawei Cloud DIS (Data Ingestion Service).

`DISClient` is where to begin. `aiodis.server.LocalDIS` is the embedded DIS.
"""

from aiodis.client import DISClient
from aiodis.config import (
    CheckpointStore,
    ClientSettings,
    ConsumerSettings,
    ProducerSettings,
    Static,
)
from aiodis.consumer import Consumer, ConsumerStats, DISGroup, Lag
from aiodis.credentials import Credentials
from aiodis.errors import *  # noqa: F403 - its __all__ is the drawn tree
from aiodis.errors import __all__ as _errors
from aiodis.producer import FlushReport, Producer, ProducerStats, Receipt
from aiodis.record import Batch, Fence, ReceivedRecord, Record, RecordMetadata

__version__ = "0.1.0"

__all__ = [  # noqa: PLE0604 - the errors are spelled once, in their own module
    "Batch",
    "CheckpointStore",
    "ClientSettings",
    "Consumer",
    "ConsumerSettings",
    "ConsumerStats",
    "Credentials",
    "DISClient",
    "DISGroup",
    "Fence",
    "FlushReport",
    "Lag",
    "Producer",
    "ProducerSettings",
    "ProducerStats",
    "ReceivedRecord",
    "Receipt",
    "Record",
    "RecordMetadata",
    "Static",
    "__version__",
    *_errors,
]
