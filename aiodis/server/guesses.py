"""What the embedded DIS guesses, each in one place.

Neither the reference nor the vendor's clients tell these things. Where a guess
is a rule rather than a number, the code that follows it names the constant.
What client and server guess alike is in `aiodis.api.limits`.
"""

from typing import Final

MIB: Final = 1024 * 1024

# -- Limits -------------------------------------------------------------------------------

BURST_MS: Final = 1000
"""A partition's bucket holds one second's worth of its rate, and begins full."""

THROTTLES_THE_REST: Final = True
"""Once a record of a partition is throttled, so are that partition's later ones in the request.

So the order in a partition survives when only the failed records are sent again.
"""

READ_THROTTLE_CODE: Final = "DIS.4303"
"""A read over the limit fails as a whole, with HTTP 400: the vendor's clients know that form."""

SCALING_LIMIT_CODE: Final = "DIS.4308"
"""A scaling above the hourly limits is refused like one above the quota of partitions.

Documented are 10 scale-ups by load, 10 by hand and 1 scale-down per stream and hour; an older
page says 5 in all, and none within the hour after one that went well. The newer page counts.
"""

LOAD_COUNTS_RECORDS: Final = True
"""What scales a stream up is its share of bytes or of records per second, whichever is larger."""

MOST_PARTITIONS_BY_LOAD: Final = 1_000
"""How far load may scale a stream that names no maximum; a quota is less."""

# -- Forms of bodies ----------------------------------------------------------------------

ANSWERS_ARE_PLAIN: Final = True
"""No answer is compressed, whatever `Accept-Encoding` says: no client of the vendor unpacks one."""

UNPACKABLE_CODE: Final = "DIS.4300"
"""A body of an unknown `Content-Encoding`, or not of the one it claims, is a "Request error"."""

# -- Putting records ----------------------------------------------------------------------

TOO_LARGE_STATUS: Final = 413
"""A request whose data is over the limit gets this status, and DIS.4200 in its body."""

DELETED_PARTITION_CODE: Final = "DIS.4302"
"""A record for a DELETED partition fails as if the partition did not exist."""

EXPIRED_PARTITION_CODE: Final = "DIS.4319"
"""A record for an EXPIRED partition fails with the code that reads get."""

BAD_HASH_KEY_IS_IGNORED: Final = True
"""An `explicit_hash_key` that is no number in range counts as not given: *seen in the SDK*."""

SPREADS_IN_TURN: Final = True
"""Records without any key go to the ACTIVE partitions in turn; the service says "random"."""

CLIENT_TIMESTAMP_IS_SHOWN: Final = True
"""A record shows the timestamp its producer sent; lookups by time go by the arrival."""

# -- Reading ------------------------------------------------------------------------------

DEFAULT_FETCH_BYTES: Final = MIB
"""`max_fetch_bytes` where a read names none. It counts raw data."""

MAX_FETCH_BYTES: Final = 5 * MIB
"""No read delivers more, whatever it asks for."""

MAX_GET_RECORDS: Final = 10_000
"""No read delivers more records; `limit` has no effect (facts 3)."""

CURSOR_AHEAD_MS: Final = 300_000
"""A cursor from further in the future than this counts as expired."""

CURSOR_KNOWS_ITS_STREAM: Final = True
"""A cursor holds the stream's id: one of a stream deleted and made anew under its name fails."""

# -- Streams ------------------------------------------------------------------------------

DEFAULT_DATA_TYPE: Final = "BLOB"
DEFAULT_STREAM_TYPE: Final = "COMMON"
DEFAULT_RETENTION_HOURS: Final = 24

PARENTS_OF_A_PARTITION: Final = ""
"""`parent_partitions` is a text; no sample with anything in it exists."""

HASH_RANGE_OF_ACTIVE_ONLY: Final = True
"""A partition that takes no records has no `hash_range`."""

HIGHEST_PARTITIONS_GO_FIRST: Final = True
"""Scaling down turns the highest ACTIVE partitions to DELETED."""

SCALING_TO_THE_SAME_COUNT_CODE: Final = "DIS.4200"

SCALING_UNDER_WAY_CODE: Final = "DIS.4205"
"""A stream that is being scaled takes no other scaling, but serves everything else."""

KEPT_SCALINGS: Final = 100
"""How many scalings of a stream its description and its log tell."""

EXPIRE_EVERY_MS: Final = 60_000
"""How often the space of records past retention is freed, at most. They are hidden exactly."""

EXPIRE_UNUSED_EVERY_MS: Final = 3_600_000
"""How often that is done for streams that nobody writes to or reads."""


def deleted_partition_expires_ms(deleted_ms: int, retention_ms: int) -> int:
    """When a DELETED partition becomes EXPIRED: its last record can be no younger than this."""
    return deleted_ms + retention_ms


# -- Apps and checkpoints -----------------------------------------------------------------

CHECKPOINTS_MAY_GO_BACK: Final = True
"""A commit is taken as it comes, also below the last one and outside the partition's range."""

STATE_WITHOUT_COMMITS: Final = -1
"""An app that never committed in a stream has all partitions listed with -1, not DIS.4375."""

# -- Consumer groups ----------------------------------------------------------------------

DEFAULT_REBALANCE_MS: Final = 20_000
"""How long a window to join stays open where nobody says; the longest of its members counts."""

LATE_MEMBERS_ARE_OUT: Final = True
"""Who has not joined again when the window closes is a member no more, however lively."""

ACCELERATION_ENDS_THE_WINDOW: Final = True
"""A window closes as soon as all members have joined, where all of them ask to accelerate."""

STABLE_IS_A_MEMBERS_STATE: Final = True
"""A member that synced is STABLE, whether or not the others have."""

A_WINDOW_TAKES_COMMITS: Final = True
"""While a window is open, the ending generation may still commit what it has finished.

From the close to its sync, a member of the new one gets DIS.4701.
"""

A_SCALING_REBALANCES: Final = True
"""A partition that no member has yet opens a window; one that went away does not."""

MEMBERS_PER_GROUP: Final = 100
"""The consumer quota behind DIS.4339."""
# -- Metrics ------------------------------------------------------------------------------

QUIET_MINUTES_HAVE_NO_POINT: Final = True
"""A series has a point for each minute in which the stream, or the partition, was used."""

PERIODS_TAKE_WHOLE_MINUTES: Final = True
"""A period has every minute that it touches, the current one as far as it is counted."""

OLDEST_PERIOD_GRACE_S: Final = 60
"""How much further back than seven days a period may begin, so that "the last 7 days" can."""

A_PUT_IS_REFUSED_WITH_ANY_RECORD: Final = True
"""A put of which any record was throttled counts as refused by flow control, not as successful."""

# -- Tags ---------------------------------------------------------------------------------

ADDING_A_TAG_REPLACES: Final = True
"""`tags.add` with a key that the stream has gives it the new value, as `tags.add_batch` does."""

DELETES_THE_VALUE_THAT_IS_NAMED: Final = True
"""`tags.delete_batch` with a value leaves a tag of another value where it is."""

NAMES_MATCH_IN_PART: Final = True
"""`matches` finds the streams whose name contains the value, in upper or lower case.

So say the pages of the vendor's other services, whose calls for tags are alike; theirs take an
empty value for an exact one, which no stream's name is. Here it is in every name.
"""

NO_ACTION_CODE: Final = "DIS.4605"
"""A body without an `action`, or with an unknown one, on a route that several operations share."""

# -- Policies and permissions -------------------------------------------------------------

ANY_PRINCIPAL: Final = True
"""A policy may name an account that there is not, and making it twice is making it once."""

MISSING_POLICY_CODE: Final = "DIS.4603"
"""Deleting a policy that there is not fails."""

DESCRIBING_NEEDS_ANY_POLICY: Final = True
"""Who may put or get records of another account's stream may describe it: clients need that."""

SHARED_STREAM_CODE: Final = "DIS.4116"
"""Another account's stream without a policy for the caller."""
# -- Events -------------------------------------------------------------------------------

TRAFFIC_LIMITED_EVERY_MS: Final = 3_600_000
"""A stream that is throttled again and again has one event "Traffic limited" in this time."""

NO_SUBSCRIPTION_CODE: Final = "DIS.4603"
"""What a subscription that is not there is refused with."""

# -- Dump tasks ---------------------------------------------------------------------------

BUCKETS_COME_WITH_TASKS: Final = True
"""A task that names a bucket makes it. One that OBS could not have, by its name, gets DIS.4306;
one that cannot be made, as where a file is in the way, DIS.4310."""

NO_AGENCY_CODE: Final = "DIS.4335"
"""An `agency_name` that is empty or too long; any other is taken."""

MRS_CLUSTERS_HAVE_UUIDS: Final = True
"""An `mrs_cluster_id` that is no UUID gets DIS.4208; any other is taken."""

HDFS_PATHS_BEGIN_WITH_A_SLASH: Final = True
"""An `mrs_hdfs_path` that does not gets DIS.4336."""

NOT_SIMULATED_STATE: Final = "ABNORMAL"
"""A task for DWS, MRS, DLI or CloudTable, or for OBS as parquet or carbon, is checked and kept, but
carries nothing. Its state says so, and the log does."""

DUMP_TIMES_ARE_UTC: Final = True
"""Time directories, and the times that records tell as texts, are in UTC."""

DIRECTORY_TIME_IS_THE_DELIVERYS: Final = True
"""A time directory has the time of its delivery; the reference says the task's creation."""

DELIMITER_ENDS_EACH_RECORD: Final = True
"""The delimiter stands behind each record, the last one too, so that files can be joined."""

DUMP_FILE_BYTES: Final = 32 * MIB
"""Data in one file at most; a delivery of more makes several."""

TIMELESS_RECORDS_ARE_KEPT: Final = True
"""A record without a readable time of its own goes to the directory of the delivery's time."""

EXPIRED_RECORDS_ARE_DISCARDED: Final = True
"""`discard` counts the records that retention took before they were delivered."""

LAST_OFFSET_IS_THE_NEXT: Final = True
"""`last_transfer_offset` is the number of the first record that is not delivered yet."""

A_START_BEGINS_THE_INTERVAL_ANEW: Final = True
"""A task that was paused delivers what came meanwhile one interval after its start."""

AN_UPDATE_KEEPS_THE_POSITION: Final = True
"""`transfer_tasks.update` changes where records go from now on, whatever its consumer strategy."""

# -- Who calls ----------------------------------------------------------------------------

MAX_SKEW_S: Final = 15 * 60
"""How far a signature's date may be from the server's clock."""

UNKNOWN_API_CODE: Final = "APIGW.0101"
"""An unknown route (404) or method (405) is the gateway's to refuse."""
