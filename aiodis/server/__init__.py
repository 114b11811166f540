"""The embedded DIS: a real server with the service's rules, for tests, demos and benchmarks."""

from aiodis.clock import AutoClock, Clock, ManualClock, SystemClock
from aiodis.server.accounts import Account, User
from aiodis.server.content import StateError
from aiodis.server.dump.buckets import Buckets
from aiodis.server.edge import EdgeLimits
from aiodis.server.local import (
    AddressInUseError,
    DataFolderInUseError,
    LocalDIS,
    StartError,
)
from aiodis.server.requests import Requests, SeenRequest
from aiodis.server.seed import SeedError
from aiodis.server.snapshot import Snapshot, SnapshotError
from aiodis.server.storage.catalog import CatalogDamagedError
from aiodis.server.storage.frame import LogDamagedError
from aiodis.server.transitions import Transitions

__all__ = [
    "Account",
    "AddressInUseError",
    "AutoClock",
    "Buckets",
    "CatalogDamagedError",
    "Clock",
    "DataFolderInUseError",
    "EdgeLimits",
    "LocalDIS",
    "LogDamagedError",
    "ManualClock",
    "Requests",
    "SeedError",
    "SeenRequest",
    "Snapshot",
    "SnapshotError",
    "StartError",
    "StateError",
    "SystemClock",
    "Transitions",
    "User",
]
