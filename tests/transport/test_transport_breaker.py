from aiodis.transport.breaker import Admitted, Breaker, Refused, WaitForProbe, WaitUntil


def breaker():
    return Breaker(failures=3, open_s=10.0, refused_s=60.0)


def opened(at=0.0):
    made = breaker()
    for _ in range(3):
        made.failed(0, at, "reset")
    return made


def test_it_lets_everything_through_while_closed():
    assert breaker().admit(0.0) == Admitted()
    assert breaker().reason == ""


def test_it_opens_after_failures_in_a_row_only():
    made = breaker()
    made.failed(0, 0.0, "reset")
    made.failed(0, 0.0, "reset")
    made.answered(0)
    made.failed(0, 0.0, "reset")
    made.failed(0, 0.0, "reset")
    assert made.admit(0.0) == Admitted()
    assert made.failed(0, 5.0, "reset")
    assert made.admit(5.0) == WaitUntil(15.0, "3 failures in a row, the last: reset")


def test_a_failure_that_comes_late_does_not_open_it_for_longer():
    made = opened()
    assert not made.failed(0, 9.0, "late")
    assert made.admit(10.0) == Admitted(probe=1)


def test_half_open_lets_one_probe_through():
    made = opened()
    assert made.admit(10.0) == Admitted(probe=1)
    assert isinstance(made.admit(10.0), WaitForProbe)


def test_a_probe_that_is_answered_closes_it():
    made = opened()
    made.admit(10.0)
    assert made.answered(1)
    assert made.admit(10.0) == Admitted()


def test_a_probe_that_fails_opens_it_again():
    made = opened()
    made.admit(10.0)
    assert made.failed(1, 11.0, "reset")
    assert isinstance(made.admit(20.9), WaitUntil)
    assert made.admit(21.0) == Admitted(probe=2)


def test_a_probe_given_back_leaves_room_for_another():
    made = opened()
    made.admit(10.0)
    made.abandoned(1)
    assert made.admit(10.0) == Admitted(probe=2)


def test_giving_back_a_probe_that_was_reported_changes_nothing():
    made = opened()
    made.admit(10.0)
    made.answered(1)
    made.abandoned(1)
    assert made.admit(10.0) == Admitted()


def test_only_the_probes_own_answer_ends_the_probing():
    made = opened()
    made.admit(10.0)
    assert not made.answered(0)
    assert not made.failed(0, 10.0, "late")
    assert isinstance(made.admit(10.0), WaitForProbe)


def test_an_earlier_call_that_is_answered_after_all_closes_it():
    made = opened()
    assert made.answered(0)
    assert made.admit(1.0) == Admitted()


def test_one_refusal_opens_it_at_once_and_nobody_waits():
    made = breaker()
    made.refused(5.0, "bad key")
    assert made.admit(64.9) == Refused(65.0, "bad key")
    assert made.reason == "bad key"
    assert made.admit(65.0) == Admitted(probe=1)


def test_an_earlier_call_that_is_answered_does_not_undo_a_refusal():
    made = breaker()
    made.refused(0.0, "bad key")
    assert not made.answered(0)
    assert isinstance(made.admit(1.0), Refused)


def test_a_refusal_outdates_the_probe_that_is_out():
    made = opened()
    made.admit(10.0)
    made.refused(11.0, "bad key")
    assert not made.answered(1)
    assert isinstance(made.admit(12.0), Refused)
    assert made.admit(71.0) == Admitted(probe=2)
    made.abandoned(1)
    assert isinstance(made.admit(71.0), WaitForProbe)


def test_a_hold_is_waited_for_without_a_probe():
    made = breaker()
    made.hold(5.0)
    made.hold(3.0)
    assert made.admit(4.9) == WaitUntil(5.0, "the service asked to wait")
    assert made.admit(5.0) == Admitted()
