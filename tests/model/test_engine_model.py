"""The embedded DIS against a model of the service, step by step, on a clock that a test moves."""

import pytest
from asks import ASKS
from engine_steps import ROWS, Steps
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stream_model import CURSOR_MS

from aiodis.server.engine import Engine

NEVER_REFUSED = {
    "events.list",
    "events.list_types",
    "events.list_subscriptions",
    "quotas.get",
    "tags.list_region",
}
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
WAITS = [1, 2, 500, SECOND, 5 * SECOND, 20 * SECOND, 30 * SECOND, MINUTE - 1, MINUTE, 4 * MINUTE]
LONG_WAITS = [5 * MINUTE, 5 * MINUTE + 1, HOUR - 1, HOUR, 5 * HOUR, 24 * HOUR, 24 * HOUR + 1]


def weigh(**weights):
    """Operations by chapter, or by name with `__` for the dot, each as often as told."""
    return [
        name
        for prefix, weight in weights.items()
        for name in ASKS
        if name == prefix.replace("__", ".") or name.startswith(f"{prefix}.")
        for _ in range(weight)
    ]


class Machine(RuleBasedStateMachine):
    """Begins with two streams and an app."""

    def __init__(self):
        super().__init__()
        self.steps = Steps()

    def teardown(self):
        self.steps.check_deliveries()
        self.steps.close()

    @initialize(partitions=st.integers(1, 4))
    def begin(self, partitions):
        self.steps.take("streams.create", {"stream_name": "s", "partition_count": partitions})
        self.steps.take("streams.create", {"stream_name": "t", "partition_count": 2})
        self.steps.take("apps.create", {"app_name": "a"})
        self.steps.take("streams.list", {})


@precondition(lambda self: self.steps.model.cursors)
@rule(data=st.data(), beside=st.sampled_from([-1, 0, 1]))
def let_a_cursor_grow_old(self, data, beside):
    cursor = data.draw(st.sampled_from([*self.steps.model.cursors][-4:]))
    issued = self.steps.model.cursors[cursor].issued_ms
    self.steps.now = max(self.steps.now, issued + CURSOR_MS + beside)
    self.steps.take("records.get", {"partition-cursor": cursor})


def machine(name, operations, waits):
    """Make a machine whose steps are these operations, with pauses of these lengths."""

    class Made(Machine):
        @rule(data=st.data(), operation=st.sampled_from(operations))
        def call(self, data, operation):
            ask = ASKS[operation](data.draw, self.steps.model)
            self.steps.take(operation, ask)

        @rule(milliseconds=st.sampled_from(waits))
        def wait(self, milliseconds):
            self.steps.now += milliseconds

        @precondition(lambda self: self.steps.model.edges())
        @rule(data=st.data(), beside=st.sampled_from([-1, 0, 0, 1, 1]))
        def wait_for_an_edge(self, data, beside):
            at = data.draw(st.sampled_from(self.steps.model.edges()))
            self.steps.now = max(self.steps.now, at + beside)

    if "records.get" in operations:
        Made.let_a_cursor_grow_old = let_a_cursor_grow_old
    Made.operations = frozenset(operations)
    Made.__name__ = Made.__qualname__ = name
    return Made


MACHINES = {
    "records": machine(
        "Records",
        weigh(records__put=6, records__get=5, records__get_cursor=5, streams=1)
        + weigh(streams__scale=3, metrics=1),
        [*WAITS, *LONG_WAITS],
    ),
    "groups": machine(
        "Groups",
        weigh(groups=5, checkpoints__commit=6, checkpoints__get=2, apps=1, streams__scale=1),
        WAITS,
    ),
    "catalog": machine(
        "Catalog",
        weigh(streams=1, apps=2, tags=2, policies=3, events=3, quotas=1, checkpoints=5),
        [*WAITS, *LONG_WAITS, 7 * 24 * HOUR],
    ),
    "dumps": machine(
        "Dumps",
        weigh(transfer_tasks=2, records__put=5, streams__scale=1),
        [*WAITS, *LONG_WAITS],
    ),
}
each_machine = pytest.mark.parametrize("name", MACHINES)


@each_machine
def test_the_engine_answers_as_the_model_does(name):
    walk(MACHINES[name], examples=40, steps=50)


@pytest.mark.drill
@pytest.mark.timeout(600)
@each_machine
def test_it_does_for_many_thousand_steps(name):
    operations = MACHINES[name].operations
    done = walk(MACHINES[name], examples=600, steps=80)
    wanted = {(operation, "carried out") for operation in operations}
    wanted |= {(operation, "refused") for operation in operations - NEVER_REFUSED}
    assert wanted <= done.keys(), wanted - done.keys()


def test_every_operation_of_the_engine_is_walked():
    engine = Engine.open(None)
    try:
        handled = {name for name, row in ROWS.items() if engine.handles(row)}
    finally:
        engine.close()
    assert {name for found in MACHINES.values() for name in found.operations} == handled


def walk(found, *, examples, steps):
    """Let a machine take its steps; gives how many there were of each operation and outcome."""
    Steps.done.clear()
    run_state_machine_as_test(
        found,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    return dict(Steps.done)
