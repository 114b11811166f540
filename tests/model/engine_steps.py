"""The engine behind plain fields, as the server's edge calls it, and the comparison."""

import json
import pprint
from collections import Counter
from typing import ClassVar

from pydantic import ValidationError
from service_model import ServiceModel
from told import No

from aiodis.api import OPERATIONS
from aiodis.server.dump.buckets import MemoryBuckets
from aiodis.server.engine import Engine
from aiodis.server.quotas import AccountQuotas
from aiodis.server.refusal import Refusal, refusal_of_fields
from aiodis.server.wire_forms import encode_reply, read_put
from aiodis.wire.codec_json import JsonCodec

__all__ = ["ROWS", "Steps"]

START_MS = 1_700_000_000_000
ROWS = {row.name: row for row in OPERATIONS}
JSON = JsonCodec()


class Steps:
    """The engine and the model side by side. `done` counts what came of each operation's steps.

    Both see the same requests at the same times; whatever differs is a bug of one of them.
    """

    done: ClassVar[Counter] = Counter()

    def __init__(self, folder=None):
        self.folder, self.now = folder, START_MS
        self.buckets = MemoryBuckets()
        self.engine = self._open()
        quotas = {"COMMON": 8, "ADVANCED": 6, "app": 2, "subscription": 2}
        self.model = ServiceModel(quotas, self.now)

    def _open(self):
        quotas = AccountQuotas(common_partition=8, advanced_partition=6, app=2, subscription=2)
        engine = Engine.open(self.folder, quotas=quotas, buckets=self.buckets)
        engine.agenda.begin(self.now)
        return engine

    def close(self):
        self.engine.close()

    def take(self, operation, ask):
        """Let both answer, and compare."""
        status, told = self._carry_out(ROWS[operation], ask)
        seen = {"told": told} if status < 300 else {"refusal": told}
        wanted = self._expected(operation, ask, seen)
        if isinstance(wanted, No):
            fits = told in wanted.codes and status == wanted.status
        else:
            fits = wanted == told and status == ROWS[operation].status
        assert fits, self._difference(operation, ask, wanted, told)
        self.done[operation, "refused" if isinstance(wanted, No) else "carried out"] += 1

    def _expected(self, operation, ask, seen):
        try:
            return self.model.answer(operation, ask, self.now, **seen)
        except No as no:
            return no

    def _carry_out(self, row, ask):
        self.engine.agenda.run_until(self.now)
        try:
            reply = self.engine.handle(row, self._read(row, ask), self.now)
            body = encode_reply(JSON, reply)
        except Refusal as refusal:
            return refusal.status, refusal.code
        return row.status, json.loads(body) if body else None

    @staticmethod
    def _read(row, ask):
        if row.name == "records.put":
            return read_put(JSON, json.dumps(ask).encode())
        path = {name: ask[name] for name in row.path_names if name in ask}
        rest = {name: value for name, value in ask.items() if name not in path}
        query = {} if row.has_body else {name: str(value) for name, value in rest.items()}
        try:
            return row.read(path, query, rest if row.has_body else None)
        except ValidationError as exc:
            raise refusal_of_fields(exc) from None

    def _difference(self, operation, ask, wanted, told):
        shown = [pprint.pformat(shortened(value), width=100) for value in (ask, wanted, told)]
        text = "\n{} at {} ms: {}\nthe model: {}\nthe engine: {}"
        return text.format(operation, self.now - START_MS, *shown)

    def check_deliveries(self):
        """See that the buckets hold what tasks had to deliver, in order, once, and no more."""
        tasks = [t for s in self.model.streams.values() for t in s.tasks.values()]
        for task in tasks + self.model.finished:
            if task.id.value is None:
                continue
            for bucket in ("bucket", "other"):
                wanted = {n: d for n, d in task.delivered.get(bucket, {}).items() if d}
                assert self._delivered(bucket, task.id.value) == wanted, (task.name, bucket)

    def _delivered(self, bucket, task_id):
        found = {}
        if bucket not in self.buckets.names():
            return found
        ours = [path for path in self.buckets.files(bucket) if f"{task_id}_shardId-" in path]
        for path in sorted(ours, key=lambda path: path.rpartition("_")[2]):
            partition = int(path.rpartition("_")[0][-10:])
            found[partition] = found.get(partition, b"") + self.buckets.read(bucket, path)
        return found


def shortened(value):
    """The value with its long texts and lists cut."""
    match value:
        case dict():
            return {key: shortened(inner) for key, inner in value.items()}
        case list() if len(value) > 20:
            return [*map(shortened, value[:20]), f"... {len(value)}"]
        case list():
            return [*map(shortened, value)]
        case str() if len(value) > 60:
            return f"{value[:20]}...{value[-20:]}"
    return value
