"""The proxies of docs/inbound.md, as Debian has them: webhooks come through them, over TLS, with their senders' addresses."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from inbound_requests import INBOUND, stripe_post
from providers import stripe_event
from receivers import unused_port
from web_process import Web, serving

PAGE = Path(__file__).parents[3] / "docs" / "inbound.md"
NAME = "relay.market.example"


def found_at(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def snippet(language: str, begins: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [text] = [each for each in found if each.startswith(begins)]
    return str(text)


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    text = snippet("text", NAME).replace("127.0.0.1:8788", f"127.0.0.1:{upstream}")
    tls = f"{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {folder}/cert.pem {folder}/key.pem"
    options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text.replace(f"{NAME} {{", tls))
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    text = snippet("nginx", "server").replace("127.0.0.1:8788", f"127.0.0.1:{upstream}")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = re.sub(r"/etc/letsencrypt/\S*/fullchain.pem", f"{folder}/cert.pem", text)
    text = re.sub(r"/etc/letsencrypt/\S*/privkey.pem", f"{folder}/key.pem", text)
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Its workers could not enter the folder of root's tests otherwise.
    user = "" if os.geteuid() else "user root; "
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text}}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf"]


@asynccontextmanager
async def behind(program: str, folder: Path, web: Web) -> AsyncIterator[httpx.AsyncClient]:
    """Run a proxy in front of the web process; give a client of it, which verifies its certificate."""
    authority = trustme.CA()
    issued = authority.issue_cert(NAME)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    port = unused_port()
    upstream = web.public.base_url.port
    assert upstream is not None
    _, *arguments = {"caddy": caddy, "nginx": nginx}[program](folder, port, upstream)
    process = await trio.lowlevel.open_process(
        [str(found_at(program)), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder)},
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    try:
        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}", verify=context, timeout=20.0
        ) as client:
            with trio.fail_after(20):
                while True:
                    try:
                        stream = await trio.open_tcp_stream("127.0.0.1", port)
                        await stream.aclose()
                        break
                    except OSError:
                        await trio.sleep(0.1)
            yield client
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("program", ["caddy", "nginx"])
async def test_a_webhook_comes_through_the_proxy_over_tls(tmp_path: Path, program: str) -> None:
    if found_at(program) is None:
        pytest.skip(f"{program} is not installed")
    # The sender's address is the one that the proxy saw, whatever the sender says.
    elsewhere = {**INBOUND["stripe"], "allow_from": ["198.51.100.0/24"]}
    file = {"inbound": {"stripe": INBOUND["stripe"], "elsewhere": elsewhere}}
    options = {"trusted_proxies": ["127.0.0.1"], "base_url": f"https://{NAME}"}
    async with (
        serving(tmp_path, file=file, **options) as web,
        behind(program, tmp_path, web) as client,
    ):

        async def send(entry: str, body: bytes, headers: dict[str, str]) -> int:
            found = await client.post(
                f"/in/{entry}",
                content=body,
                headers={**headers, "Host": NAME},
                extensions={"sni_hostname": NAME},
            )
            return found.status_code

        assert await send("stripe", *stripe_post(stripe_event())) == 200
        large = stripe_event(id="evt_large", data={"object": {"id": "pi_1", "note": "x" * 900_000}})
        assert await send("stripe", *stripe_post(large)) == 200
        assert await send("stripe", b"x" * 1_900_000, {}) == 401, "the proxy lets it pass"
        assert await send("stripe", b"x" * 2_200_000, {}) == 413
        body, headers = stripe_post(stripe_event(id="evt_elsewhere"))
        forged = {**headers, "X-Forwarded-For": "198.51.100.7"}
        assert await send("elsewhere", body, forged) == 403
        other = await client.get(
            "/v1/events", headers={"Host": NAME}, extensions={"sni_hostname": NAME}
        )
        assert other.status_code == 404
