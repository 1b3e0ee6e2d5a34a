"""Why the daemon did not do what was asked, as problem documents."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.absence import Absence
from relayd.web.problem import ProblemError

_STATUS: Final[Mapping[str, HTTPStatus]] = {
    "bad_request": HTTPStatus.BAD_REQUEST,
    "unknown": HTTPStatus.NOT_FOUND,
    "not_added": HTTPStatus.CONFLICT,
    "exists": HTTPStatus.CONFLICT,
    "no_include": HTTPStatus.CONFLICT,
    "configuration": HTTPStatus.CONFLICT,
    "inactive": HTTPStatus.CONFLICT,
    "failed": HTTPStatus.CONFLICT,
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_type": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown_type": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limit": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "defect": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""By the daemon's code. What is wrong in the files on disk, or keeps the daemon from writing there, conflicts
with the request: nothing was done, and it can be sent again."""

_AGAIN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def not_done(refused: RefusedByDaemonError) -> ProblemError:
    """Return the problem for a refusal. `problems` has each reason, `details` each with its `key`."""
    code = refused.code or "refused"
    status = _STATUS.get(code, HTTPStatus.CONFLICT)
    more = {key: refused.answer[key] for key in ("problems", "details") if refused.answer.get(key)}
    headers = {"Retry-After": "5"} if status in _AGAIN else None
    return ProblemError(status, code, "; ".join(refused.problems), headers, more=more)


def no_answer(error: NoDaemonError | TimeoutError, timeout_s: float) -> ProblemError:
    """Return the problem where the daemon did not answer."""
    if isinstance(error, TimeoutError):
        return ProblemError(
            HTTPStatus.GATEWAY_TIMEOUT,
            Absence.NOT_ANSWERING,
            f"relayd did not answer within {timeout_s:g} s; it may still do it",
        )
    words = {
        Absence.NOT_RUNNING: "relayd is not running; nothing was done",
        Absence.NOT_PERMITTED: "the web process may not ask relayd; nothing was done",
        Absence.NOT_ANSWERING: "relayd does not answer; it may have been done",
    }
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        error.absence,
        words[error.absence],
        {"Retry-After": "5"},
    )
