import re
from pathlib import Path

import pytest

from aiodis import errors
from aiodis.observe import METRICS, SPANS, catalog
from aiodis.observe.catalog import OUTCOME, request_outcome

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "observe.md"
LABELS = [row for row in vars(catalog).values() if isinstance(row, catalog.Label)]
rows = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)


class TestTheTable:
    def test_no_two_rows_bear_one_name(self):
        assert len({row.name for row in METRICS}) == len(METRICS)

    @rows
    def test_a_row_bears_its_constants_name(self, row):
        assert getattr(catalog, row.name.upper()) is row
        assert re.fullmatch(r"(producer|consumer)(_[a-z]+)+", row.name)
        assert row.help.endswith(".")

    @rows
    def test_histograms_alone_have_buckets_and_these_rise(self, row):
        assert bool(row.buckets) == (row.kind == "histogram")
        assert list(row.buckets) == sorted(set(row.buckets))

    @rows
    def test_every_label_is_bounded_by_the_account_or_by_listed_values(self, row):
        for label in row.labels:
            assert label.values or label.name in {"stream", "partition"}

    def test_a_request_never_holds_more_bytes_than_the_last_bound(self):
        assert catalog.PRODUCER_REQUEST_BYTES.buckets[-1] > 5 * 1024 * 1024 * 4 / 3


class TestChecks:
    def test_another_kind_is_refused(self):
        with pytest.raises(ValueError, match="is a counter, not a gauge"):
            catalog.PRODUCER_RECORDS_DELIVERED.check("gauge", {"stream": "events"})

    @pytest.mark.parametrize("labels", [{}, {"stream": "s", "key": "user-1"}, {"key": "user-1"}])
    def test_other_labels_are_refused(self, labels):
        with pytest.raises(ValueError, match="has the labels stream, not"):
            catalog.PRODUCER_RECORDS_DELIVERED.check("counter", labels)

    def test_a_value_that_is_not_listed_is_refused(self):
        with pytest.raises(ValueError, match="reason cannot be 'user-1'"):
            catalog.PRODUCER_RECORDS_FAILED.check("counter", {"stream": "s", "reason": "user-1"})

    def test_an_attribute_that_is_not_listed_is_refused(self):
        SPANS["producer.request"].check(["stream", "records"])
        with pytest.raises(ValueError, match=r"the span producer\.request has no data"):
            SPANS["producer.request"].check(["stream", "data"])


class TestOutcomeOfARequest:
    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (None, "answered"),
            (errors.ThrottledError("", status=429, code="DIS.4303"), "throttled"),
            (errors.AuthError("", status=403, code="DIS.4101"), "unauthorized"),
            (errors.PayloadTooLargeError("", status=413, code="HTTP.413"), "refused"),
            (errors.ServerError("", status=500, code="DIS.5000"), "server_error"),
            (errors.RequestTimeoutError(""), "no_answer"),
            (errors.ConnectError(""), "no_answer"),
            (errors.CircuitOpenError(""), "circuit_open"),
            (errors.DecodeError("", status=200, head=b""), "unreadable"),
            (errors.ClosedError(""), "closed"),
            (ZeroDivisionError(), "crashed"),
            (KeyboardInterrupt(), "cancelled"),
        ],
    )
    def test_it_follows_the_error(self, error, outcome):
        assert request_outcome(error) == outcome
        assert outcome in OUTCOME.values

    def test_every_error_of_aiodis_has_one(self):
        for name in errors.__all__:
            kind = getattr(errors, name)
            assert request_outcome(kind.__new__(kind)) in OUTCOME.values


class TestTheDocs:
    def _cells(self, heading):
        text = PAGE.read_text(encoding="utf-8")
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("| `")]
        return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]

    def test_they_list_the_metrics_of_the_table(self):
        assert self._cells("Metrics") == [
            [
                f"`{row.name}`",
                row.kind,
                row.unit,
                ", ".join(label.name for label in row.labels),
                row.help,
            ]
            for row in METRICS
        ]

    def test_they_list_the_labels_of_the_table(self):
        told = {cells[0]: cells[1:] for cells in self._cells("Labels")}
        assert set(told) == {f"`{label.name}`" for label in LABELS}
        for label in LABELS:
            meaning, values = told[f"`{label.name}`"]
            assert meaning == label.help
            assert re.findall(r"`(\w+)`", values) == list(label.values)

    def test_they_list_the_spans_of_the_table(self):
        assert self._cells("Spans") == [
            [
                f"`{row.name}`",
                row.help,
                "begins one" if row.background else "the caller's",
                ", ".join(row.attributes),
            ]
            for row in SPANS.values()
        ]
