"""Settings: frozen, checked when they are made, each with its unit in its name."""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self, runtime_checkable
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import ConfigError
from aiodis.record import Fence

__all__ = [
    "CheckpointStore",
    "ClientSettings",
    "ConsumerSettings",
    "ProducerSettings",
    "Static",
    "is_loopback",
]

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Static:
    """A fixed share of a stream's partitions: those whose number modulo `count` is `index`.

    The default takes all of them: one process, or one pod of a StatefulSet each.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError("Static: index counts from 0 and must be below count")

    def owns(self, partition: int) -> bool:
        """Say whether this member reads the partition."""
        return partition % self.count == self.index


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    if not TYPE_CHECKING:  # type checkers are to see the fields as the keywords

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as exc:
                raise _config_error(type(self), exc) from None


def _config_error(settings: type[BaseModel], exc: ValidationError) -> ConfigError:
    """Say in one line which setting breaks which rule."""
    first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(settings.model_fields))
        rule = f"there is no such setting; there are: {known}"
    return ConfigError(f"{name}: {rule}" if name else rule)


class ClientSettings(_Settings):
    """How a client reaches the service, and as whom.

    `signing` is the scheme for AK/SK: `v3` is the vendor's current one and
    needs no region. Waiting longer than `keepalive_ms` closes a connection,
    before the server does. `retry_budget` is the share of calls that may be
    repeated, beyond a small reserve; the breaker opens after
    `breaker_failures` failures in a row, for `breaker_open_ms`, and after one
    refusal of the credentials that a fresh token did not mend, since the service
    blocks addresses that go on failing for half an hour (facts 1).
    """

    region: str | None = None
    endpoint: str | None = None
    project_id: str | None = None
    credentials: AccessKey | StaticToken | IAMPassword | None = None
    signing: Literal["v3", "scoped", "v11", "v11-v3"] = "v3"
    ca_file: Path | None = None
    allow_http: bool = False
    request_timeout_ms: Positive = 30_000
    connect_timeout_ms: Positive = 5_000
    call_timeout_ms: Positive = 120_000
    max_connections: Positive = 64
    keepalive_ms: Positive = 15_000
    retries: NotNegative = 8
    retry_backoff_ms: Positive = 100
    retry_backoff_max_ms: Positive = 10_000
    retry_budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    breaker_failures: Positive = 20
    breaker_open_ms: Positive = 10_000
    auth_breaker_open_ms: Positive = 60_000

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.endpoint is None and self.region is None:
            raise ValueError("give a region or an endpoint")
        if self.signing != "v3" and self.region is None:
            raise ValueError(f"signing={self.signing!r} needs a region")
        url = urlsplit(self.base_url)
        _ = url.port  # raises ValueError for what is no port
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise ValueError("endpoint must look like https://host or https://host:port")
        if url.username or url.password:
            raise ValueError("endpoint must not hold a user name or password")
        if url.scheme == "http" and not (self.allow_http or is_loopback(url.hostname)):
            raise ValueError(
                "endpoint is plain http to another machine; use https, or allow_http=True"
            )
        return self

    @property
    def base_url(self) -> str:
        """The endpoint without a trailing slash."""
        endpoint = self.endpoint or f"https://dis.{self.region}.myhuaweicloud.com"
        if "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        return endpoint.rstrip("/")

    @property
    def iam_url(self) -> str:
        """Where IAM is. An embedded DIS answers its calls itself; else it is the region's."""
        host = urlsplit(self.base_url).hostname or ""
        if self.region is None or is_loopback(host):
            return self.base_url
        return f"https://iam.{self.region}.myhuaweicloud.com"

    @staticmethod
    def from_env(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read region, endpoint, project and CA file from `AIODIS_REGION` and the like."""
        env = os.environ if environ is None else environ
        names = {
            "region": ("AIODIS_REGION",),
            "endpoint": ("AIODIS_ENDPOINT",),
            "project_id": ("AIODIS_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"),
            "ca_file": ("AIODIS_CA_FILE",),
        }
        found = {key: next((env[n] for n in names[key] if env.get(n)), None) for key in names}
        return {key: value for key, value in found.items() if value}


class ProducerSettings(_Settings):
    """How a producer batches, paces and repeats. See `Producer` for what it promises.

    `buffer_memory` counts data, keys and what a record takes besides.

    `batch_max_bytes` counts data before base64; None takes the most the stream's
    type allows in one request (1 MiB COMMON, 5 MiB ADVANCED).
    `rate_limit_share` is this producer's part of each partition's limits.
    `serializer` turns what is sent into bytes; without one only bytes are taken.
    `max_in_flight_per_partition` of None is 1 with `ordering="partition"`, else 4.
    """

    ordering: Literal["partition", "key", "none"] = "partition"
    on_ordered_failure: Literal["pause", "continue"] = "pause"
    serializer: Callable[[Any], bytes] | None = None
    linger_ms: NotNegative = 50
    batch_max_records: Annotated[int, Field(gt=0, le=10_000)] = 1_000
    batch_max_bytes: Annotated[int, Field(gt=0, le=5 * MIB)] | None = None
    max_in_flight: Positive = 16
    max_in_flight_per_partition: Positive | None = None
    buffer_memory: Positive = 64 * MIB
    max_block_ms: NotNegative = 60_000
    delivery_timeout_ms: Positive = 120_000
    retry_backoff_ms: Positive = 100
    retry_backoff_max_ms: Positive = 10_000
    rate_limit: Literal["adaptive", "fixed", "off"] = "adaptive"
    rate_limit_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    metadata_max_age_ms: Positive = 300_000
    close_timeout_ms: NotNegative = 30_000
    wire_format: Literal["json", "protobuf"] = "json"
    compression: Literal["none", "lz4", "zstd", "snappy"] = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ordering == "partition" and (self.max_in_flight_per_partition or 1) > 1:
            raise ValueError("ordering='partition' has one request in flight per partition")
        return self

    @property
    def workers(self) -> int:
        """Requests of one partition in flight at most."""
        return self.max_in_flight_per_partition or (1 if self.ordering == "partition" else 4)


@runtime_checkable
class CheckpointStore(Protocol):
    """Where a consumer's positions are kept: the service by default, or your own database.

    A position is the next sequence number to read. Raise what you like: a commit that
    failed is tried again, and a load that failed ends the start.
    """

    async def load(self, partition_id: str) -> int | None:
        """Give the position that was committed last; None where there is none."""

    async def commit(self, partition_id: str, position: int, fence: Fence | None) -> None:
        """Keep a position, which may be below the last after a seek.

        `fence` says who commits in a group: refuse a generation below the last one
        seen by raising `FencedError`, or a member that lost the partition goes on.
        """


class ConsumerSettings(_Settings):
    """How a consumer polls, prefetches and commits. See `Consumer` for what it promises.

    `offset_reset` is where partitions start that have no checkpoint, and where
    a position goes that is no longer in the partition. `max_fetch_bytes` counts
    data before base64; a record larger than that is never returned, so it cannot be
    below the largest record, 1 MiB. `group` is a `Static`, or what makes a
    `Coordinator` of a `Seat` (`aiodis.consumer.coordinator`). `deserializer` makes
    `ReceivedRecord.value` of its data. The callbacks get partition ids, and may be
    async.
    """

    app: str
    offset_reset: Literal["latest", "earliest", "error"] = "latest"
    checkpoint_convention: Literal["next", "last"] = "next"
    auto_commit: bool = True
    auto_commit_interval_ms: Positive = 5_000
    max_fetch_bytes: Annotated[int, Field(ge=MIB)] = MIB
    prefetch_batches: Positive = 2
    prefetch_bytes: Positive = 64 * MIB
    poll_min_ms: Positive = 200
    poll_max_ms: Positive = 1_000
    cursor_max_age_ms: Positive = 270_000
    partition_refresh_ms: Positive = 60_000
    retry_backoff_ms: Positive = 100
    retry_backoff_max_ms: Positive = 10_000
    rate_limit: Literal["fixed", "off"] = "fixed"
    close_timeout_ms: NotNegative = 30_000
    handoff_timeout_ms: NotNegative = 30_000
    partition_order: Literal["parallel", "parent_first"] = "parallel"
    wire_format: Literal["json", "protobuf"] = "json"
    deserializer: Callable[[bytes], Any] | None = None
    checkpoint_store: CheckpointStore | None = None
    on_assigned: Callable[[frozenset[str]], object] | None = None
    on_revoked: Callable[[frozenset[str]], object] | None = None
    on_lost: Callable[[frozenset[str]], object] | None = None
    group: Static | Callable[[Any], Any] = Static()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.poll_min_ms > self.poll_max_ms:
            raise ValueError("poll_min_ms is above poll_max_ms")
        if self.prefetch_bytes < self.max_fetch_bytes:
            raise ValueError("prefetch_bytes is below max_fetch_bytes")
        return self


def is_loopback(host: str) -> bool:
    """Say whether a host name or address stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
