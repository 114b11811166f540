"""What happens by itself with time: in order, however far the clock jumps, whatever fails."""

import logging
from dataclasses import dataclass, field

from aiodis.clock import ManualClock
from aiodis.server.agenda import Agenda
from aiodis.server.keeper import Keeper


@dataclass
class Every:
    period_ms: int
    next_ms: int
    said: list
    fails: list = field(default_factory=list)

    def due_ms(self):
        return self.next_ms

    def run(self, at_ms):
        if self.fails:
            raise self.fails.pop()
        self.said.append((at_ms, self.period_ms))
        self.next_ms = at_ms + self.period_ms


def agenda_of(*duties):
    agenda = Agenda()
    for duty in duties:
        agenda.add(duty)
    return agenda


def test_an_hour_that_passes_at_once_runs_each_duty_in_the_order_of_the_times():
    said = []
    agenda = agenda_of(Every(1_000, 1_000, said), Every(1_500, 1_500, said))

    agenda.run_until(3_000)

    assert said == [(1_000, 1_000), (1_500, 1_500), (2_000, 1_000), (3_000, 1_000), (3_000, 1_500)]
    assert agenda.due_ms() == 4_000


def test_what_was_due_before_the_service_came_up_is_due_then_once():
    said = []
    agenda = agenda_of(Every(1_000, 1_000, said))

    agenda.begin(10_500)
    agenda.run_until(12_000)

    assert said == [(10_500, 1_000), (11_500, 1_000)]


def test_a_duty_that_fails_waits_a_minute_while_others_go_on(caplog):
    said = []
    failing = Every(10_000, 5_000, said, [OSError("disk full")])
    agenda = agenda_of(failing, Every(30_000, 30_000, said))

    with caplog.at_level(logging.ERROR):
        agenda.run_until(60_000)
    assert said == [(30_000, 30_000), (60_000, 30_000)]
    assert "tried again in a minute" in caplog.text

    agenda.run_until(120_000)
    assert (120_000, 10_000) in said


def test_a_duty_that_is_due_again_at_once_does_not_hang_the_server(caplog):
    with caplog.at_level(logging.ERROR):
        agenda_of(Every(0, 5, [])).run_until(10)
    assert "due again at once" in caplog.text


async def test_a_clock_moved_by_hand_has_let_all_happen_when_advance_returns():
    clock, said = ManualClock(0), []
    async with Keeper(agenda_of(Every(1_000, 1_000, said)), clock):
        clock.advance(seconds=2)
        assert said == [(1_000, 1_000), (2_000, 1_000)]
    clock.advance(seconds=2)
    assert len(said) == 2
