import pytest
from scripted import http_date

from aiodis.transport.skew import Skew, parse_http_date

NOW = 1_700_000_000.0


def learned(seconds_off, *, round_trip=0.0):
    skew = Skew()
    skew.learn(http_date(NOW + seconds_off), sent=NOW, received=NOW + round_trip)
    return skew


def test_a_clock_that_is_right_is_not_corrected():
    assert learned(0).offset == 0.0


def test_what_the_round_trip_explains_is_no_skew():
    assert learned(20, round_trip=30.0).offset == 0.0
    assert learned(20, round_trip=1.0).offset == 20.0


@pytest.mark.parametrize("seconds", [-86_400, -61, 61, 3_600])
def test_the_offset_is_what_has_to_be_added_to_this_clock(seconds):
    assert learned(seconds).offset == pytest.approx(seconds, abs=1)


def test_a_clock_that_was_set_right_meanwhile_is_no_longer_corrected():
    skew = learned(600)
    skew.learn(http_date(NOW + 700), sent=NOW + 700, received=NOW + 700)
    assert skew.offset == 0.0


def test_only_an_offset_above_a_minute_explains_a_refusal():
    assert learned(90).explains(0.0)
    assert not learned(50).explains(0.0)
    assert not learned(90).explains(89.0)


@pytest.mark.parametrize("text", ["", "yesterday", "99", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_date_that_cannot_be_read_teaches_nothing(text):
    skew = learned(600)
    skew.learn(text, sent=NOW, received=NOW)
    assert skew.offset == pytest.approx(600, abs=1)
    assert parse_http_date(text) is None


def test_a_date_without_a_zone_is_utc():
    assert parse_http_date("Thu, 01 Jan 1970 00:01:00") == 60.0
