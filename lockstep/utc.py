"""Times as data: ``YYYY-MM-DDTHH:MM:SSZ`` to seconds and back. Reads no clock.

The text form has a fixed width, so comparing two texts compares the times; arithmetic goes
through whole seconds since 1970-01-01 UTC.
"""

from datetime import UTC, datetime, timedelta

from lockstep.errors import DataError

_FORM = "%Y-%m-%dT%H:%M:%SZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_S = 86_400


def to_seconds(text: str) -> int:
    """Whole seconds since 1970-01-01 UTC.

    Raises:
        DataError: RECORD_INVALID; ``text`` names no second of the calendar in the one form.
    """
    try:
        moment = datetime.strptime(text, _FORM).replace(tzinfo=UTC)
    except ValueError:
        raise DataError("RECORD_INVALID", f"not a UTC time: {text[:40]!r}") from None
    if moment.strftime(_FORM) != text:  # strptime takes "2026-1-1T…" too
        raise DataError("RECORD_INVALID", f"not a UTC time: {text[:40]!r}")
    return int((moment - _EPOCH).total_seconds())


def from_seconds(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime(_FORM)


def plus_days(text: str, days: int) -> str:
    return from_seconds(to_seconds(text) + days * DAY_S)
