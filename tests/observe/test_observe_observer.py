import logging
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext

import pytest

from aiodis.observe import NO_OBSERVER, guarded
from aiodis.observe.catalog import (
    PRODUCER_BUFFER_BYTES,
    PRODUCER_RECORDS_DELIVERED,
    PRODUCER_REQUEST_SECONDS,
)


class Recorder:
    """Notes every call, and may fail at chosen ones."""

    def __init__(self, *failing):
        self.failing = failing
        self.calls = []

    def _note(self, *call):
        self.calls.append(call)
        if call[0] in self.failing:
            raise ZeroDivisionError(call[0])

    def count(self, metric, amount=1, **labels):
        self._note("count", metric, amount, labels)

    def observe(self, metric, value, **labels):
        self._note("observe", metric, value, labels)

    def gauge(self, metric, value, **labels):
        self._note("gauge", metric, value, labels)

    def span(self, name, **attributes):
        self._note("span", name, attributes)
        return RecordedSpan(self._note)


class RecordedSpan(AbstractContextManager):
    def __init__(self, note):
        self._note = note

    def __enter__(self):
        self._note("enter")
        return self

    def __exit__(self, kind, error, traceback):
        self._note("exit", error)

    def set(self, **attributes):
        self._note("set", attributes)

    def fail(self, error):
        self._note("fail", error)


def make_all_calls(observer):
    observer.count(PRODUCER_RECORDS_DELIVERED, 2, stream="s")
    observer.observe(PRODUCER_REQUEST_SECONDS, 0.5, stream="s")
    observer.gauge(PRODUCER_BUFFER_BYTES, 9, stream="s")
    with observer.span("producer.flush", stream="s") as span:
        span.set(delivered=2)
        span.fail(ValueError())


class TestNoObserver:
    def test_it_takes_every_call_and_does_nothing(self):
        make_all_calls(NO_OBSERVER)
        assert not hasattr(NO_OBSERVER, "__dict__")

    def test_its_span_lets_errors_through(self):
        with pytest.raises(KeyError), NO_OBSERVER.span("producer.flush"):
            raise KeyError

    def test_all_its_spans_are_one(self):
        assert NO_OBSERVER.span("producer.flush") is NO_OBSERVER.span("producer.close")


class TestGuarded:
    def test_no_observer_needs_no_guard(self):
        assert guarded(NO_OBSERVER) is NO_OBSERVER

    def test_guarding_twice_is_guarding_once(self):
        once = guarded(Recorder())
        assert guarded(once) is once

    def test_calls_pass_unchanged(self):
        plain, behind = Recorder(), Recorder()
        make_all_calls(plain)
        make_all_calls(guarded(behind))
        assert [c[0] for c in plain.calls] == [c[0] for c in behind.calls]
        assert plain.calls[:4] == behind.calls[:4]

    @pytest.mark.parametrize(
        "failing", ["count", "observe", "gauge", "span", "enter", "set", "fail", "exit"]
    )
    def test_a_failure_anywhere_harms_nobody(self, failing, caplog):
        observer = guarded(Recorder(failing))
        make_all_calls(observer)
        assert observer.failures == 1
        [record] = caplog.records
        assert record.name == "aiodis.observe"
        assert record.levelno == logging.ERROR
        assert "Recorder" in record.message
        assert record.exc_info[0] is ZeroDivisionError

    def test_the_first_failure_is_logged_and_later_ones_are_counted(self, caplog):
        observer = guarded(Recorder("count", "gauge"))
        for _ in range(100):
            make_all_calls(observer)
        assert observer.failures == 200
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("failing", [(), ("span",), ("enter",), ("exit",)])
    def test_what_the_block_raises_leaves_it(self, failing, caplog):
        error = KeyError("mine")
        with pytest.raises(KeyError) as caught, guarded(Recorder(*failing)).span("x"):
            raise error
        assert caught.value is error

    def test_a_span_is_told_of_the_error_that_leaves_its_block(self):
        recorder, error = Recorder(), KeyError()
        with pytest.raises(KeyError), guarded(recorder).span("x"):
            raise error
        assert recorder.calls[-1] == ("exit", error)

    def test_a_span_cannot_swallow_an_error(self):
        class Swallowing(Recorder):
            def span(self, name, **attributes):
                return SwallowingSpan(self._note)

        class SwallowingSpan(RecordedSpan):
            def __exit__(self, *exc):
                return True

        with pytest.raises(KeyError), guarded(Swallowing()).span("x"):
            raise KeyError

    def test_an_observer_that_gives_no_span_is_a_failure_like_others(self, caplog):
        class Odd(Recorder):
            def span(self, name, **attributes):
                return nullcontext()  # enters as None

        observer = guarded(Odd())
        with observer.span("x") as span:
            span.set(delivered=1)
        assert observer.failures == 1

    def test_a_span_that_was_not_entered_is_not_left(self, caplog):
        recorder = Recorder("enter")
        with guarded(recorder).span("x") as span:
            span.set(delivered=1)
        assert [call[0] for call in recorder.calls] == ["span", "enter"]

    def test_an_interrupt_is_no_failure_of_the_observer(self):
        class Interrupted(Recorder):
            def count(self, metric, amount=1, **labels):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            guarded(Interrupted()).count(PRODUCER_RECORDS_DELIVERED, stream="s")


class TestImports:
    def _run(self, program):
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )

    def test_nobody_imports_a_library_unasked(self):
        done = self._run(
            "import sys, aiodis, aiodis.observe\n"
            "assert 'prometheus_client' not in sys.modules\n"
            "assert 'opentelemetry' not in sys.modules\n"
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        ("library", "name", "extra"),
        [
            ("prometheus_client", "prometheus", "metrics"),
            ("opentelemetry", "opentelemetry", "otel"),
        ],
    )
    def test_a_missing_library_is_told_with_its_extra(self, library, name, extra):
        done = self._run(
            f"import sys; sys.modules[{library!r}] = None\nimport aiodis.observe.{name}\n"
        )
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(f"ImportError: aiodis.observe.{name} needs ")
        assert last.endswith(f": install aiodis[{extra}]")
