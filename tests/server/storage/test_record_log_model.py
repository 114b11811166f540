"""The log, on disk and in memory, against lists of records."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aiodis.server.storage import PutBlock, RecordLog

PARTITIONS = st.integers(0, 2)
RECORDS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=6)


class Model(RuleBasedStateMachine):
    @initialize(segment_bytes=st.sampled_from([1, 300, 1000, 100_000]))
    def begin(self, segment_bytes):
        self.folder = Path(tempfile.mkdtemp())
        self.options = {"segment_bytes": segment_bytes, "sync_rolls": False}
        self.disk = RecordLog.open(self.folder, **self.options)
        self.memory = RecordLog.open(None, **self.options)
        self.records = {0: [], 1: [], 2: []}  # of (fragment, size, arrival time)
        self.kept = {0: 0, 1: 0, 2: 0}  # the first sequence that has not been removed
        self.last_ms = 0

    def teardown(self):
        if hasattr(self, "disk"):
            self.disk.close()
            shutil.rmtree(self.folder)

    @rule(blocks=st.lists(st.tuples(PARTITIONS, RECORDS), max_size=4), now_ms=st.integers(0, 50))
    def append(self, blocks, now_ms):
        if blocks:
            self.last_ms = max(self.last_ms, now_ms)
        put = []
        for partition, shapes in blocks:
            records = self.records[partition]
            first = len(records)
            fragments = [
                f'{{"{partition}-{first + number}":"{"x" * length}"}}'
                for number, (length, _) in enumerate(shapes)
            ]
            sizes = [size for _, size in shapes]
            put.append(PutBlock(partition, first, fragments, sizes))
            records += [
                (kept.encode(), size, self.last_ms)
                for kept, size in zip(fragments, sizes, strict=True)
            ]
        for log in (self.disk, self.memory):
            log.append(put, now_ms)

    @rule(
        partition=PARTITIONS,
        start=st.integers(0, 40),
        max_bytes=st.integers(0, 300),
        max_records=st.integers(0, 30),
    )
    def read(self, partition, start, max_bytes, max_records):
        sequence = max(start, self.kept[partition])
        taken, size = [], 0
        for fragment, raw, _ in self.records[partition][sequence : sequence + max_records]:
            if size + raw > max_bytes:
                break
            taken.append(fragment)
            size += raw
        for log in (self.disk, self.memory):
            got = log.read(partition, sequence, max_bytes=max_bytes, max_records=max_records)
            assert got.payload == b",".join(taken)
            assert (got.count, got.data_bytes) == (len(taken), size)
            assert got.next_sequence == sequence + len(taken)

    @rule(partition=PARTITIONS, time_ms=st.integers(-1, 60))
    def look_up(self, partition, time_ms):
        records, kept = self.records[partition], self.kept[partition]
        since = [
            sequence for sequence in range(kept, len(records)) if records[sequence][2] >= time_ms
        ]
        sequence = since[0] if since else len(records)
        oldest = records[since[0]][2] if since else None
        for log in (self.disk, self.memory):
            assert log.sequence_at(partition, time_ms) == sequence
            assert log.oldest_time(partition, time_ms) == oldest

    @rule(before_ms=st.integers(0, 60))
    def expire(self, before_ms):
        assert self.disk.expire(before_ms) == self.memory.expire(before_ms)
        for partition, records in self.records.items():
            kept = self.disk.sequence_at(partition, -1)
            assert self.memory.sequence_at(partition, -1) == kept
            assert kept >= self.kept[partition]
            assert all(time < before_ms for _, _, time in records[self.kept[partition] : kept])
            if self.last_ms < before_ms:
                assert kept == len(records)
            self.kept[partition] = kept

    @rule()
    def start_again(self):
        self.disk.close()
        self.disk = RecordLog.open(self.folder, **self.options)
        assert self.disk.recovery.cut_bytes == 0
        assert self.disk.recovery.records == sum(
            len(records) - self.kept[partition] for partition, records in self.records.items()
        )

    @invariant()
    def both_know_the_next_sequences(self):
        if hasattr(self, "disk"):
            assert self.disk.disk_bytes == self.memory.disk_bytes
            for partition, records in self.records.items():
                assert self.disk.next_sequence(partition) == len(records)
                assert self.memory.next_sequence(partition) == len(records)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
