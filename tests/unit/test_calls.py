"""How an activity's body is called: errors in Temporal's terms, a beat while it works."""

import logging
import threading

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment

from activities import calls
from activities.calls import as_application_error, step
from lockstep.errors import (
    DataError,
    FencedError,
    LockstepError,
    RefusedError,
    UnavailableError,
)

WAIT_MAX_S = 10.0


def failure(error: BaseException) -> ApplicationError:
    """What comes out of an activity whose body raises ``error``."""

    @activity.defn
    @step
    def body() -> None:
        raise error

    with pytest.raises(ApplicationError) as caught:
        ActivityEnvironment().run(body)
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "retried"),
    [
        (DataError("OBJECT_CORRUPT", "why"), "OBJECT_CORRUPT", False),
        (RefusedError("ADOPT_FIRST", "why"), "ADOPT_FIRST", False),
        (FencedError("why"), "FENCED", False),
        (UnavailableError("STORE_UNREACHABLE", "why"), "STORE_UNREACHABLE", True),
        (UnavailableError("SHIFT_UNCONFIRMED", "why"), "SHIFT_UNCONFIRMED", True),
        # The registry has the last word on what a retry can mend,
        (UnavailableError("SERVER_BINARY_MISSING", "why"), "SERVER_BINARY_MISSING", False),
        # but a refusal stays one: asking again is the operator's to do.
        (RefusedError("SECRET_UNRESOLVED", "why"), "SECRET_UNRESOLVED", False),
        (LockstepError("PAYLOAD_TOO_LARGE", "why"), "PAYLOAD_TOO_LARGE", False),
        (UnavailableError("NEVER_REGISTERED", "why"), "NEVER_REGISTERED", True),
    ],
    ids=lambda value: value.code if isinstance(value, LockstepError) else "",
)
def test_an_expected_error_crosses_with_its_code_and_whether_a_retry_helps(
    error: LockstepError, code: str, retried: bool
) -> None:
    raised = failure(error)
    assert (raised.type, raised.non_retryable) == (code, not retried)
    assert raised.message == "why"


def test_the_place_stands_before_the_cause_and_the_hint_beside_it() -> None:
    error = DataError("OBJECT_MISSING", "no object", place="cas/ab", hint="restore it")
    raised = as_application_error(error)
    assert raised.message == "cas/ab: no object"
    assert raised.details == ("restore it",)


def test_a_long_cause_is_cut_to_what_a_message_may_hold() -> None:
    assert len(failure(DataError("OBJECT_CORRUPT", "c" * 5_000)).message) == 600
    assert len(failure(ValueError("c" * 5_000)).message) == 300


def test_an_unexpected_error_is_a_defect_that_is_retried_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        raised = failure(KeyError("weights"))
    assert (raised.type, raised.non_retryable) == ("INTERNAL", False)
    assert raised.message == "KeyError: 'weights'"
    assert isinstance(raised.__cause__, KeyError)
    assert [record.getMessage() for record in caplog.records] == ["defect in body"]


def test_an_expected_error_is_not_logged_as_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failure(UnavailableError("STORE_UNREACHABLE", "why"))
    assert caplog.records == []


def test_a_step_gives_what_its_body_gives_and_keeps_its_name() -> None:
    @step
    def double(number: int) -> int:
        """Twice."""
        return 2 * number

    assert ActivityEnvironment().run(double, 4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice.")


def test_it_beats_while_the_body_works_and_stops_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BEAT_S", 0.01)
    three = threading.Event()
    beats: list[tuple] = []

    def beat(*details: object) -> None:
        beats.append(details)
        if len(beats) == 3:
            three.set()

    @activity.defn
    @step
    def body() -> bool:
        return three.wait(WAIT_MAX_S)

    environment = ActivityEnvironment()
    environment.on_heartbeat = beat
    assert environment.run(body) is True
    ended_with = len(beats)
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert len(beats) == ended_with >= 3


def test_it_stops_beating_when_the_body_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BEAT_S", 0.01)
    failure(DataError("OBJECT_CORRUPT", "why"))
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_beat_comes_well_within_the_time_after_which_a_worker_is_missed() -> None:
    from workflows.steps import HEARTBEAT

    assert HEARTBEAT.total_seconds() > calls.BEAT_S * 3


def test_a_body_called_directly_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BEAT_S", 0.001)
    assert step(lambda: threading.Event().wait(0.02) or "done")() == "done"


def test_a_cancellation_is_passed_on_and_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    environment = ActivityEnvironment()

    @activity.defn
    @step
    def body() -> None:
        environment.cancel()
        threading.Event().wait(WAIT_MAX_S)

    with pytest.raises(CancelledError), caplog.at_level(logging.ERROR):
        environment.run(body)
    assert caplog.records == []
