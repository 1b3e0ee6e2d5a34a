"""What a program is answered that asked wrongly: a problem document (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse


class ProblemError(Exception):
    """Ends a request with a status, a code for programs and a sentence for people."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.more = more or {}

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(
            {
                "type": "about:blank",
                "title": self.status.phrase,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
                **self.more,
            },
            self.status,
            dict(self.headers or {}),
            media_type="application/problem+json",
        )
