import pytest
from scripted_service import refusal

from aiodis.consumer.recovery import Remedy, remedy
from aiodis.errors import CircuitOpenError, ConnectError, DecodeError, DISError, RequestTimeoutError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("DIS.4319"), Remedy.LEAVE),
        (refusal("DIS.4217"), Remedy.RENEW),
        (refusal("DIS.4225"), Remedy.RENEW),
        (refusal("DIS.4226"), Remedy.RENEW),
        (refusal("DIS.4224"), Remedy.RESET),
        (refusal("DIS.4303"), Remedy.WAIT),
        (refusal("DIS.5000", 500), Remedy.WAIT),
        (ConnectError("no"), Remedy.WAIT),
        (RequestTimeoutError("late"), Remedy.WAIT),
        (CircuitOpenError("open"), Remedy.WAIT),
        (DecodeError("what", status=200, head=b""), Remedy.WAIT),
        (CircuitOpenError("refused", refused=True), Remedy.FAIL),
        (refusal("DIS.4301"), Remedy.FAIL),
        (refusal("DIS.4100", 441), Remedy.FAIL),
        (refusal("DIS.4200"), Remedy.FAIL),
        (DISError("odd"), Remedy.FAIL),
    ],
    ids=str,
)
def test_each_error_has_its_remedy(error, expected):
    assert remedy(error, 0, "latest") is expected


def test_a_place_that_is_gone_is_final_where_the_user_said_so():
    assert remedy(refusal("DIS.4224"), 0, "error") is Remedy.FAIL


@pytest.mark.parametrize("code", ["DIS.4205", "DIS.4302"])
def test_a_refusal_that_may_pass_is_final_when_it_does_not(code):
    outcomes = [remedy(refusal(code), count, "latest") for count in range(1, 20)]
    waits = outcomes.count(Remedy.WAIT)
    assert 5 <= waits <= 10
    assert outcomes == [Remedy.WAIT] * waits + [Remedy.FAIL] * (19 - waits)
