"""How an activity is called: beating while it works, and failing in Temporal's terms.

A ``LockstepError`` crosses into the workflow as an ``ApplicationError`` whose type is the
registered code. What no retry mends is non-retryable; what is merely out of reach is retried by
the policy of the step (``workflows.steps``).
"""

import contextvars
import functools
import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError

from lockstep.error_codes import ERROR_CODES
from lockstep.errors import LockstepError, UnavailableError

BEAT_S = 1.0

P = ParamSpec("P")
R = TypeVar("R")


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Beat once a second while ``function`` runs, and translate its expected errors."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        stop = threading.Event()
        context = contextvars.copy_context()
        beating = threading.Thread(
            target=lambda: context.run(_beat, stop), name="heartbeat", daemon=True
        )
        beating.start()
        try:
            return function(*args, **kwargs)
        except LockstepError as error:
            raise as_application_error(error) from None
        except CancelledError:
            raise  # asked for, no defect
        except Exception as error:
            # A defect: retried, so that a mended worker goes on where this one could not.
            logging.exception("defect in %s", function.__name__)
            cause = f"{type(error).__name__}: {error}"[:300]
            raise ApplicationError(cause, type="INTERNAL") from error
        finally:
            stop.set()
            beating.join()

    return called


def _beat(stop: threading.Event) -> None:
    if not activity.in_activity():  # called directly, by a test of the body
        return
    while not stop.wait(BEAT_S):
        activity.heartbeat()


def as_application_error(error: LockstepError) -> ApplicationError:
    """Code as the type; cause with its place as the message; the hint as a detail."""
    row = ERROR_CODES.get(error.code)
    retryable = isinstance(error, UnavailableError) and (row is None or row.retryable)
    where = f"{error.place}: " if error.place else ""
    return ApplicationError(
        f"{where}{error.cause}"[:600], error.hint, type=error.code, non_retryable=not retryable
    )
