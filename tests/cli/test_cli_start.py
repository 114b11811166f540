"""Where reading starts, as a person writes it."""

from datetime import UTC, datetime

import pytest

from aiodis.cli.start import Start, read_start

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", Start("earliest")),
        ("latest", Start("latest")),
        ("0", Start("sequence", 0)),
        ("9223372036854775807", Start("sequence", 2**63 - 1)),
        ("15m", Start("time", NOW_MS - 900_000)),
        ("1.5H", Start("time", NOW_MS - 5_400_000)),
        ("2d", Start("time", NOW_MS - 2 * 86_400_000)),
        ("2026-11-24T12:00:00Z", Start("time", NOW_MS)),
        ("2026-11-24T20:00+08:00", Start("time", NOW_MS)),
        ("2026-11-24T20:00:00.500+08:00", Start("time", NOW_MS + 500)),
    ],
)
def test_a_place_is_read(text, start):
    assert read_start(text, NOW) == start


@pytest.mark.parametrize(
    "text", ["", "now", "-1", "9223372036854775808", "15 m", "15w", "2026-13-01", "٣"]
)
def test_what_is_no_place_is_told_with_the_forms_there_are(text):
    with pytest.raises(ValueError, match="earliest, latest"):
        read_start(text, NOW)
