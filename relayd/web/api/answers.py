"""What the descriptions of operations have in common: parameters, contents, and the problems that each may have."""

from collections.abc import Mapping
from typing import Final

from relayd.web.api.schema_parts import ref
from relayd.web.operation import JSON, Content, Parameter

PROBLEM_JSON: Final = "application/problem+json"

ID: Final = Parameter("id", "The id of a delivery.", {"type": "string"}, "path")
EVENT_ID: Final = Parameter("id", "The id of an event.", {"type": "string"}, "path")
NAME: Final = Parameter("name", "The name of a subscription.", {"type": "string"}, "path")

TO_LOOK: Final[Mapping[int, str]] = {
    400: "The query cannot be meant.",
    401: "No token, or a wrong one.",
    403: "This token may not do that, or a page of another site asks.",
    421: "Asked without a valid token, by a name that is not the web process's own.",
    429: "Too many requests at a time.",
    503: "The queue cannot be read, or relayd does not answer.",
}
"""The problems of each operation that only looks."""

TO_ACT: Final[Mapping[int, str]] = {
    **TO_LOOK,
    404: "There is no such delivery or subscription.",
    409: "Not as things stand; `detail` says why. Nothing was done.",
    500: "A defect of relayd; its log has the traceback.",
    504: "relayd did not answer in time. It may still do it.",
}
"""Those of each operation that changes something."""

NOT_FOUND: Final[Mapping[int, str]] = {404: "There is nothing of this name."}


def answered(says: str, name: str, headers: Mapping[str, str] | None = None) -> Content:
    """Return the content of an answer that is one of the schemas."""
    return Content(says, {JSON: ref(name)}, headers)
