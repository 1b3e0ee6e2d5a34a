"""`/v1/openapi.json`: the OpenAPI document, made of the operations that are served."""

import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from relayd import __version__
from relayd.web.api.answers import PROBLEM_JSON, TO_LOOK
from relayd.web.api.schema_parts import ref
from relayd.web.api.schemas import SCHEMAS
from relayd.web.api.service import Answer, Service
from relayd.web.operation import JSON, Content, Operation, Parameter
from relayd.web.query import check_names

PATH = "/v1/openapi.json"


class OpenApi:
    """Answers the document, which is made when it is first asked for: it loads what the daemon does not need."""

    def __init__(self, service: Service, operations: Sequence[Operation]) -> None:
        self._service = service
        self._operations = [*operations, self.operation()]
        self._kept: bytes | None = None

    async def answer(self, request: Request) -> Answer:
        """Answer the document."""
        check_names(request.query_params, (), ())
        if self._kept is None:
            self._kept = await self._service.run(
                lambda: json.dumps(openapi_document(self._operations)).encode()
            )
        return Answer(self._kept)

    def operation(self) -> Operation:
        """Return the operation that answers it."""
        says = {status: TO_LOOK[status] for status in (400, 401, 403, 421, 429)}
        return Operation(
            "GET",
            PATH,
            self._service.looks(self.answer),
            "getOpenApi",
            "This document",
            "What the web process answers, for programs.",
            {200: Content("The document.", {JSON: {"type": "object"}})},
            says,
        )


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "relayd",
            "version": __version__,
            "description": "The web process of relayd, a webhook relay: docs/api.md.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**SCHEMAS, **_key_schemas()},
        },
    }


def _key_schemas() -> dict[str, Any]:
    """Return the schemas of a subscription's keys, as `relayd schema` has them."""
    # pydantic and the models of the file: nothing else of the web process needs them.
    from relayd.config.schema import json_schema  # noqa: PLC0415 - see above

    text = json.dumps(json_schema()["$defs"]).replace("#/$defs/", "#/components/schemas/")
    defined: dict[str, Any] = json.loads(text)
    found: dict[str, Any] = {}
    wanted = ["SubscriptionSection"]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = defined[name]
            wanted += re.findall(r"#/components/schemas/(\w+)", json.dumps(defined[name]))
    return found


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.says,
    }
    if operation.open_to_all:
        found["security"] = [{}, {"token": []}]
    if operation.parameters:
        found["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        found["requestBody"] = {"required": True, **_content(operation.body)}
    answers = {
        **operation.answers,
        **{
            status: Content(says, {PROBLEM_JSON: ref("Problem")})
            for status, says in operation.problems.items()
        },
    }
    found["responses"] = {
        str(status): _content(content) for status, content in sorted(answers.items())
    }
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.many else parameter.schema
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.says,
        "schema": schema,
    }
    if parameter.place == "path":
        found["required"] = True
    return found


def _content(content: Content) -> dict[str, Any]:
    found: dict[str, Any] = {"description": content.says}
    if content.media:
        found["content"] = {media: {"schema": schema} for media, schema in content.media.items()}
    if content.example is not None:
        found["content"][JSON]["example"] = content.example
    if content.headers:
        found["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in content.headers.items()
        }
    return found
