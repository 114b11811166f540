"""Where a dump task puts a stream's records: reference, chapters 5.5.1 and 5.5.7 to 5.5.10.

Each class is one of the reference's descriptors. `transfer_tasks.create` and
`transfer_tasks.update` take any of them as their `destination`.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from aiodis.wire.message import name_of, parameter_error

__all__ = [
    "DESTINATIONS",
    "CloudTableDestination",
    "CloudTableSchema",
    "Column",
    "Destination",
    "DliDestination",
    "DwsDestination",
    "DwsOptions",
    "MrsDestination",
    "ObsDestination",
    "OpenTsdbMetric",
    "OpenTsdbSchema",
    "OpenTsdbTag",
    "OpenTsdbTimestamp",
    "OpenTsdbValue",
    "ProcessingSchema",
    "RowKey",
]

TaskName = Annotated[str, name_of(64)]
"""1 to 64 letters, digits, `_`, `-` (reference 5.5.1)."""

ConsumerStrategy = Literal["LATEST", "TRIM_HORIZON"]
TimestampFormat = Literal[
    "yyyy/MM/dd HH:mm:ss",
    "MM/dd/yyyy HH:mm:ss",
    "dd/MM/yyyy HH:mm:ss",
    "yyyy-MM-dd HH:mm:ss",
    "MM-dd-yyyy HH:mm:ss",
    "dd-MM-yyyy HH:mm:ss",
]
Format = Annotated[TimestampFormat | None, Field(validate_default=True)]
PartitionFormat = Literal["yyyy", "yyyy/MM", "yyyy/MM/dd", "yyyy/MM/dd/HH", "yyyy/MM/dd/HH/mm"]
JsonType = Literal["Bigint", "Double", "Boolean", "Timestamp", "String", "Decimal"]
Flag = Literal["true", "on", "false", "off"]

Agency = Annotated[str, Field(min_length=1, max_length=64)]
Filled = Annotated[str, Field(min_length=1)]
Attribute = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_]+$")
]
Metric = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9.]+$")]
RejectLimit = Annotated[str, StringConstraints(pattern=r"^([0-9]+|unlimited)$")]


def _relative(value: str) -> str:
    if value.startswith("/"):
        raise ValueError("a directory cannot start with a slash")
    return value


FilePrefix = Annotated[
    str,
    StringConstraints(max_length=50, pattern=r"^[A-Za-z0-9_/]*$"),
    AfterValidator(_relative),
]
"""Up to 50 letters, digits, `_` and `/`, no `/` first (reference 5.5.1)."""


def _seconds(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


# The reference's tables call it a text, its examples have a number.
RetryDuration = Annotated[
    int, Field(ge=0, le=7200), BeforeValidator(_seconds), PlainSerializer(str, return_type=str)
]
"""Seconds, 0 to 7200; 0 allows no retry (reference 5.5.7). Sent as a text."""


class _Checked(BaseModel):
    """A value of a request that is made by its own; wrong ones raise `ParameterError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    if not TYPE_CHECKING:

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as exc:
                raise parameter_error(type(self).__name__, exc) from None

        # So pydantic reads a value inside another as usual, and an error keeps its place.
        __init__.__pydantic_base_init__ = True


class ProcessingSchema(_Checked):
    """Which attribute of a JSON record tells the time for its directory."""

    timestamp_name: Filled
    timestamp_type: Literal["String", "Timestamp"]  # Timestamp: milliseconds, 13 digits
    timestamp_format: Format = None  # needed when the type is String

    @field_validator("timestamp_format")
    @classmethod
    def _needed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("timestamp_type") == "String":
            raise ValueError("needed when timestamp_type is String")
        return value


class _Destination(_Checked):
    word: ClassVar[str]
    """The `destination_type`."""
    descriptor: ClassVar[str]
    """The field of a request's body that holds the rest."""

    task_name: TaskName
    agency_name: Agency
    deliver_time_interval: Annotated[int, Field(ge=30, le=900)]  # seconds
    consumer_strategy: ConsumerStrategy | None = None  # LATEST without one


class ObsDestination(_Destination):
    """Files in a bucket of OBS."""

    word = "OBS"
    descriptor = "obs_destination_descriptor"

    obs_bucket_path: Filled
    file_prefix: FilePrefix | None = None
    partition_format: PartitionFormat | None = None
    # The reference has text only; the others are seen in the SDK, for JSON streams.
    destination_file_type: Literal["text", "parquet", "carbon"] | None = None
    processing_schema: ProcessingSchema | None = None
    record_delimiter: Literal[",", ";", "|", "\n"] | None = None  # a newline without one


class DwsOptions(_Checked):
    """What DWS does with rows that do not fit (reference, table 5-106)."""

    fill_missing_fields: Flag | None = None
    ignore_extra_data: Flag | None = None
    compatible_illegal_chars: Flag | None = None
    reject_limit: RejectLimit | None = None  # a whole number, or unlimited
    error_table_name: str | None = None


class DwsDestination(_Destination):
    """A table of DWS, by way of a bucket."""

    word = "DWS"
    descriptor = "dws_destination_descriptor"

    dws_cluster_name: Filled
    dws_cluster_id: Filled
    dws_database_name: Filled
    dws_schema: Filled
    dws_table_name: Filled
    dws_delimiter: Literal[",", ";", "|"]
    user_name: Filled
    user_password: Annotated[str, Field(min_length=1, repr=False)]
    kms_user_key_name: Filled
    kms_user_key_id: Filled
    obs_bucket_path: Filled
    file_prefix: FilePrefix | None = None
    retry_duration: RetryDuration | None = None
    dws_table_columns: str | None = None  # such as c1,c2; all without it
    options: DwsOptions | None = None


class MrsDestination(_Destination):
    """Files in an HDFS of MRS, by way of a bucket."""

    word = "MRS"
    descriptor = "mrs_destination_descriptor"

    mrs_cluster_name: Filled
    mrs_cluster_id: Filled
    mrs_hdfs_path: Filled
    obs_bucket_path: Filled
    file_prefix: FilePrefix | None = None
    hdfs_prefix_folder: Annotated[str, Field(max_length=50)] | None = None
    # Not in the reference's table, but in its example.
    destination_file_type: Literal["text", "parquet", "carbon"] | None = None
    retry_duration: RetryDuration | None = None


class DliDestination(_Destination):
    """A table of DLI, by way of a bucket."""

    word = "DLI"
    descriptor = "dli_destination_descriptor"

    dli_database_name: Filled
    dli_table_name: Filled
    obs_bucket_path: Filled
    file_prefix: FilePrefix | None = None
    retry_duration: RetryDuration | None = None


class RowKey(_Checked):
    """An attribute of a JSON record that is part of HBase's row key."""

    value: Filled
    type: JsonType


class Column(_Checked):
    """An attribute of a JSON record that becomes a column of HBase."""

    column_family_name: Filled
    column_name: Attribute
    value: Filled
    type: JsonType


class CloudTableSchema(_Checked):
    """How JSON records become rows of HBase."""

    row_key: Annotated[list[RowKey], Field(min_length=1, max_length=64)]
    columns: Annotated[list[Column], Field(min_length=1, max_length=4096)]


class OpenTsdbMetric(_Checked):
    """A metric's name: the value itself, or the attribute of that name."""

    type: Literal["Constant", "String"]
    value: Metric


class OpenTsdbTimestamp(_Checked):
    """The attribute that holds the time."""

    type: Literal["Timestamp", "String"]
    value: Attribute
    format: Format = None  # needed when the type is String

    @field_validator("format")
    @classmethod
    def _needed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("type") == "String":
            raise ValueError("needed when type is String")
        return value


class OpenTsdbValue(_Checked):
    """The attribute that holds the value."""

    type: JsonType
    value: Attribute


class OpenTsdbTag(_Checked):
    """A tag, and the attribute that holds its value."""

    name: Attribute
    type: JsonType
    value: Attribute


class OpenTsdbSchema(_Checked):
    """How JSON records become points of OpenTSDB."""

    metric: list[OpenTsdbMetric]
    timestamp: OpenTsdbTimestamp
    value: OpenTsdbValue
    tags: list[OpenTsdbTag]


class CloudTableDestination(_Destination):
    """A table of CloudTable's HBase (`cloudtable_schema`), or its OpenTSDB (`opentsdb_schema`)."""

    word = "CLOUDTABLE"
    descriptor = "cloudtable_destination_descriptor"

    cloudtable_cluster_name: Filled
    cloudtable_cluster_id: Filled
    cloudtable_table_name: Filled | None = None  # needed for HBase
    cloudtable_schema: CloudTableSchema | None = None
    opentsdb_schema: Annotated[
        Annotated[list[OpenTsdbSchema], Field(min_length=1)] | None, Field(validate_default=True)
    ] = None
    cloudtable_row_key_delimiter: Literal[",", ".", "|", "\\", "-", "_", "~"] | None = None
    obs_backup_bucket_path: Filled | None = None
    backup_file_prefix: FilePrefix | None = None
    retry_duration: RetryDuration | None = None

    @field_validator("cloudtable_schema")
    @classmethod
    def _into_a_table(
        cls, value: CloudTableSchema | None, info: ValidationInfo
    ) -> CloudTableSchema | None:
        if value is not None and info.data.get("cloudtable_table_name") is None:
            raise ValueError("needs a cloudtable_table_name")
        return value

    @field_validator("opentsdb_schema")
    @classmethod
    def _one_of_two(
        cls, value: list[OpenTsdbSchema] | None, info: ValidationInfo
    ) -> list[OpenTsdbSchema] | None:
        if "cloudtable_schema" in info.data:  # else that one is wrong, and told of
            other = info.data["cloudtable_schema"]
            if value is None and other is None:
                raise ValueError("either this or cloudtable_schema is needed")
            if value is not None and other is not None:
                raise ValueError("cannot stand beside cloudtable_schema")
        return value


def _word(value: object) -> str | None:
    """Tell which destination a value is or, made of plain values, is most like."""
    if isinstance(value, _Destination):
        return value.word
    if not isinstance(value, dict):
        return None
    return max(DESTINATIONS.values(), key=lambda kind: len(kind.model_fields.keys() & value)).word


Destination = Annotated[
    Annotated[ObsDestination, Tag("OBS")]
    | Annotated[DwsDestination, Tag("DWS")]
    | Annotated[MrsDestination, Tag("MRS")]
    | Annotated[DliDestination, Tag("DLI")]
    | Annotated[CloudTableDestination, Tag("CLOUDTABLE")],
    Discriminator(
        _word,
        custom_error_type="destination",
        custom_error_message="a destination is needed, such as ObsDestination",
    ),
]

DESTINATIONS: Final[dict[str, type[Destination]]] = {
    kind.word: kind
    for kind in (
        ObsDestination,
        DwsDestination,
        MrsDestination,
        DliDestination,
        CloudTableDestination,
    )
}
"""Each kind of destination by its `destination_type`."""
