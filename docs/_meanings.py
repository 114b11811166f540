"""What each setting means, for `reference/settings.md`; a test fails when one is missing."""

from typing import Final

__all__ = ["MEANINGS"]

MEANINGS: Final[dict[str, dict[str, str]]] = {
    "ClientSettings": {
        "region": "Names the service's default endpoint and IAM's, goes into the scope of three of"
        " the four signing schemes, and finds the project when `project_id` is not given.",
        "endpoint": "URL or host of DIS. Beats the one that `region` implies. One of the two is"
        " needed.",
        "project_id": "The project. When it is missing it is looked up at IAM once, by the region's"
        " name.",
        "credentials": "What `Credentials` makes. None reads the environment.",
        "signing": "The scheme for an access key pair. All but `v3` need a `region`.",
        "ca_file": "PEM file of the only authorities to trust. None trusts those of the system.",
        "allow_http": "Lets plain http go to another machine. Loopback never needs it.",
        "request_timeout_ms": "The longest that one try may take, answer included.",
        "connect_timeout_ms": "The longest that making a connection may take.",
        "call_timeout_ms": "The longest that a call may take, with all its tries and pauses. The"
        " producer's requests follow their records' deadlines instead.",
        "max_connections": "Connections open at once.",
        "keepalive_ms": "How long an idle connection is kept.",
        "retries": "How often a call is repeated at most. The producer's requests are not limited"
        " by it.",
        "retry_backoff_ms": "The shortest pause before a repeat.",
        "retry_backoff_max_ms": "The longest pause drawn. A Retry-After of the service may be"
        " longer.",
        "retry_budget": "The share of calls that may be repeated, beyond a small reserve.",
        "breaker_failures": "Failures in a row that open the breaker.",
        "breaker_open_ms": "How long it stays open before a probe goes out.",
        "auth_breaker_open_ms": "The same after the credentials were refused.",
    },
    "ProducerSettings": {
        "ordering": "`partition`: one request in flight per partition, so its records keep their"
        " order. `key`: one record of a key on its way, so a key's records keep theirs. `none`: no"
        " promise about order.",
        "on_ordered_failure": "What follows a record that fails for good, with `key` ordering."
        " `pause`: its key takes nothing more until `resume_key`. `continue`: the next one goes.",
        "serializer": "Makes the bytes of each record from what was sent. None takes bytes only.",
        "linger_ms": "How long the first record of a batch waits for company.",
        "batch_max_records": "Records in one partition's batch. With `rate_limit` on, also no more"
        " than a quarter of a second's rate (some 250 for COMMON).",
        "batch_max_bytes": "Data in one partition's batch and in one request, before base64. None"
        " takes what the stream's type allows. With `rate_limit` on, a batch is also no more than a"
        " quarter of a second's rate (some 256 KiB for COMMON).",
        "max_in_flight": "Requests in flight at once, all partitions together.",
        "max_in_flight_per_partition": "Of these, the requests with records of one partition. None"
        " is 1 with `partition` ordering, which allows no more, and 4 with the others.",
        "buffer_memory": "Bytes held at most: data, partition keys, and 400 a record besides.",
        "max_block_ms": "How long `send` waits for room before `BufferFullError`.",
        "delivery_timeout_ms": "How long after its acceptance a record may be sent before"
        " `DeliveryTimeoutError`.",
        "retry_backoff_ms": "Ceiling of the first random pause before a partition's records are"
        " sent again. It doubles with each try.",
        "retry_backoff_max_ms": "Where that ceiling stops.",
        "rate_limit": "`adaptive`: each partition is kept to its documented rate, and to less of it"
        " while the service throttles. `fixed`: to its documented rate. `off`: not at all.",
        "rate_limit_share": "The part of each partition's rate that is this producer's at most.",
        "metadata_max_age_ms": "How old the list of partitions may become.",
        "close_timeout_ms": "How long `close` waits for deliveries before it fails the rest.",
        "wire_format": "The form of request bodies. `protobuf` needs the extra `protobuf`.",
        "compression": "How request bodies are compressed, in either form. All but `none` need the"
        " extra `compression`.",
    },
    "ConsumerSettings": {
        "app": "The app that the checkpoints belong to. It is created when it does not exist.",
        "offset_reset": "Where partitions start when none of this member's has a checkpoint, and"
        " where a position goes that has left the partition. `error` raises instead. Where some"
        " have checkpoints, those without one start at their first record.",
        "checkpoint_convention": "`next`: a checkpoint holds the next number to read. `last`: the"
        " last one read.",
        "auto_commit": "Whether finished records are committed in the background and on `close`.",
        "auto_commit_interval_ms": "How often.",
        "max_fetch_bytes": "Data asked for in one read, before base64. A record larger than this is"
        " never returned, hence the minimum.",
        "prefetch_batches": "Batches held per partition before its polling waits.",
        "prefetch_bytes": "Data held for all partitions together, and 200 bytes a record besides.",
        "poll_min_ms": "The pause after a read behind which no more is known. It doubles with each"
        " empty read.",
        "poll_max_ms": "Where that pause stops.",
        "cursor_max_age_ms": "The age at which a cursor is replaced. The service's limit is five"
        " minutes.",
        "partition_refresh_ms": "How often the consumer looks for new partitions.",
        "retry_backoff_ms": "Ceiling of the first random pause after a failed read, and before a"
        " handler of `run` is called again. It doubles with each try.",
        "retry_backoff_max_ms": "Where that ceiling stops.",
        "rate_limit": "`fixed`: each partition is read at its documented rate. `off`: as fast as it"
        " answers.",
        "close_timeout_ms": "How long `close` takes at most. Handlers have three quarters of it and"
        " are cancelled then; the rest is for the last commit.",
        "handoff_timeout_ms": "How long a partition that goes to another member waits for what is"
        " in hand. Handlers have three quarters of it and are cancelled then; the rest is for"
        " `on_revoked` and the commit. A `DISGroup` may allow less.",
        "partition_order": "`parallel`: all partitions are read at once. `parent_first`: what was"
        " written before a scaling is read before what was written after it.",
        "wire_format": "What records are read as. `protobuf` needs the extra of that name.",
        "deserializer": "What makes `record.value` of a record's data, such as"
        " `aiodis.deserializers.json`.",
        "checkpoint_store": "Where positions are kept; without one, at the service.",
        "on_assigned": "Called with the partitions that come to this member, before their first"
        " record. May be async, like the other two.",
        "on_revoked": "Called with those that it hands over, before the commit, and with all on"
        " `close`.",
        "on_lost": "Called with those that were taken away.",
        "group": "Which partitions are this member's: `Static(index, count)`, `DISGroup()`, or"
        " what makes a `Coordinator` of a `Seat`.",
    },
}
