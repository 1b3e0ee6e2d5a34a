"""The dashboard's style sheet, script and pictures, which come with the package."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relayd.web.dashboard.site import HERE, safe

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFiles:
    """Answers `/static/NAME`, from memory."""

    def __init__(self) -> None:
        self._files = {
            each.name: (each.read_bytes(), _TYPES[each.suffix])
            for each in (HERE / "static").iterdir()
            if each.suffix in _TYPES
        }

    async def answer(self, request: Request) -> Response:
        """Answer anyone: what is there is in the package, too."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        content, kind = found
        # Its address changes with it: see `assets` in `Site`.
        kept = (
            "public, max-age=31536000, immutable" if request.query_params.get("v") else "max-age=60"
        )
        return safe(Response(content, headers={"Content-Type": kind, "Cache-Control": kept}))
