"""The OpenAPI document is valid, and true: schemathesis asks a real web process by it, and documents have its schemas."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from receivers import answer, open_receiver
from web_process import EVENT, READ, TOKEN, Web, serving, with_token

SETTINGS = Path(__file__).with_name("schemathesis.toml")
MOST_S = 240
"""On a machine with much else to do. Alone it takes some 15 s."""


def file_with(url: str) -> dict[str, Any]:
    return {
        "include": "subscriptions.d/*.yaml",
        "allow_networks": ["127.0.0.0/8"],
        "subscriptions": {
            "books": {
                "url": url,
                "events": "order.*",
                "secret": "books-0123456789",
                "retry": ["1h"],
            },
        },
    }


async def documented(web: Web) -> dict[str, Any]:
    found = await web.private.get("/v1/openapi.json", headers=with_token(READ), timeout=60)
    assert found.status_code == 200
    document: dict[str, Any] = found.json()
    return document


def closed(schema: Any) -> Any:
    """Return a schema that takes no key which it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def responses(document: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield each method, path and status with what it answers as JSON."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, content in operation["responses"].items():
                for media, found in content.get("content", {}).items():
                    if media.endswith("json"):
                        yield method.upper(), path, status, found["schema"]


async def test_every_document_has_the_keys_of_its_schema_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.d").mkdir()
    keys = {"url": "https://shop.example/", "events": ["user.*"]}
    async with (
        open_receiver(answer(500), answer(500), answer(200)) as receiver,
        serving(tmp_path, file=file_with(receiver.url)) as web,
    ):
        document = await documented(web)
        validate(document)
        schemas = {(m, p, s): schema for m, p, s, schema in responses(document)}
        components = closed(document["components"])
        seen = set()

        async def check(request: str, template: str, status: int = 200, **more: Any) -> Any:
            method, path = request.split(" ")
            found = await web.private.request(
                method, path, headers=with_token(TOKEN), timeout=60, **more
            )
            assert found.status_code == status, found.text
            schema = {**schemas[method, template, str(status)], "components": components}
            if status < 400:
                Draft202012Validator(schema).validate(found.json())
            seen.add((method, template))
            return found.json()

        await check("POST /v1/events", "/v1/events", 202, json={**EVENT, "id": "a"})
        await check("POST /v1/events", "/v1/events", 202, json={**EVENT, "id": "a"})
        with trio.fail_after(30):
            while not (await check("GET /v1/deliveries?state=retrying", "/v1/deliveries"))[
                "deliveries"
            ]:
                await trio.sleep(0.05)
        [one] = (await check("GET /v1/deliveries", "/v1/deliveries"))["deliveries"]
        delivery = f"/v1/deliveries/{one['id']}"
        await check("GET /v1/events", "/v1/events")
        await check("GET /v1/events/a", "/v1/events/{id}")
        await check(f"GET {delivery}", "/v1/deliveries/{id}")
        for action in ("retry", "cancel", "replay"):
            await check(f"POST {delivery}/{action}", f"/v1/deliveries/{{id}}/{action}")
        shop = "/v1/subscriptions/shop"
        named = "/v1/subscriptions/{name}"
        await check(f"PUT {shop}", named, 201, json=keys)
        await check(f"PUT {shop}", named, 200, json=keys)
        await check("GET /v1/subscriptions", "/v1/subscriptions")
        await check(f"GET {shop}", named)
        for action in ("pause", "resume", "test"):
            await check(f"POST /v1/subscriptions/books/{action}", f"{named}/{action}")
        await check(f"DELETE {shop}", named)
        for path in ("/healthz", "/readyz", "/v1/openapi.json"):
            await check(f"GET {path}", path)
        described = {
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method in methods
        }
        assert described - seen == {("GET", "/metrics")}, "every other one was asked"


@pytest.mark.timeout(MOST_S + 60)
async def test_schemathesis_finds_nothing_that_the_document_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.d").mkdir()
    async with (
        open_receiver(*[answer(200)] * 500) as receiver,
        serving(tmp_path, file=file_with(receiver.url)) as web,
    ):
        for number in range(3):
            await web.private.post(
                "/v1/events", json={**EVENT, "id": f"e{number}"}, headers=with_token(TOKEN)
            )
        with trio.fail_after(MOST_S):
            done = await trio.run_process(
                [
                    str(Path(sys.executable).with_name("schemathesis")),
                    *("--config-file", str(SETTINGS), "run"),
                    f"{str(web.private.base_url).rstrip('/')}/v1/openapi.json",
                    *("--header", f"Authorization: Bearer {TOKEN}"),
                    *("--phases", "examples,coverage,fuzzing", "--max-examples", "1"),
                    *("--checks", "all", "--max-response-time", "60", "--workers", "2"),
                    *("--seed", "1", "--no-shrink", "--generation-database", "none"),
                    *("--request-timeout", "60", "--no-color"),
                ],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONWARNINGS": "ignore",
                    "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path),
                },
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, said
        assert "Selected: 18/18" in said, said
        # What it did left both processes as they were.
        ready = await web.private.get("/readyz")
        assert json.loads(ready.text) == {"ok": True}
        errors = [
            line
            for each in (web.relayd, web.process)
            for line in each.lines
            if line.get("level") in {"error", "critical"}
        ]
        assert errors == []
