"""Receivers as they are, with the real process: their signature, authority, certificate and family."""

import base64
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import receivers
import trio
import trustme
import yaml
from certificates import authority_file, client_files, private
from operating import asked, emit, logged
from processes import SECRET, command, make_spool, run_command, running, write_config
from receivers import Conversation, answer, open_receiver
from standardwebhooks import Webhook

NODE = shutil.which("node")
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def change(config: Path, name: str, **keys: object) -> None:
    """Change keys of a subscription in the file; None removes one."""
    file = yaml.safe_load(config.read_text())
    subscription = file["subscriptions"][name] | keys
    file["subscriptions"][name] = {k: v for k, v in subscription.items() if v is not None}
    config.write_text(yaml.safe_dump(file, sort_keys=False))


async def arrived(receiver: receivers.Receiver, count: int) -> None:
    with trio.fail_after(20):
        while len(receiver.requests) < count:
            await trio.sleep(0.02)


VERIFIES = """
const {createHmac, timingSafeEqual} = require("node:crypto");
const [secret, header, encoding, prefix] = process.argv.slice(1);
let body = Buffer.alloc(0);
process.stdin.on("data", (chunk) => { body = Buffer.concat([body, chunk]); });
process.stdin.on("end", () => {
  const given = Buffer.from(header);
  const mac = (data) => Buffer.from(prefix + createHmac("sha256", secret).update(data).digest(encoding));
  const same = (data) => given.length === mac(data).length && timingSafeEqual(given, mac(data));
  process.exit(same(body) && same(JSON.stringify(JSON.parse(body))) ? 0 : 1);
});
"""


def node_verifies(body: bytes, header: str, encoding: str, prefix: str = "") -> bool:
    assert NODE is not None
    arguments = [NODE, "-e", VERIFIES, SECRET, header, encoding, prefix]
    return subprocess.run(arguments, input=body, check=False).returncode == 0


async def test_each_scheme_is_verified_by_what_receivers_use(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as hub, open_receiver() as shop, open_receiver() as standard:
        schemes = {
            "hub": {"header": "X-Hub-Signature-256", "prefix": "sha256="},
            "shop": {"header": "X-Shopify-Hmac-Sha256", "encoding": "base64"},
        }
        own = {"User-Agent": "market/1", "Content-Type": "application/vnd.market+json"}
        config = write_config(
            tmp_path,
            {
                "hub": {"url": hub.url, "signature": schemes["hub"]},
                "shop": {"url": shop.url, "signature": schemes["shop"], "headers": own},
                "standard": {"url": standard.url, "signature": "standard", "secret": WHSEC},
            },
        )
        async with running(config):
            await emit(config, "evt_1")
            for receiver in (hub, shop, standard):
                await arrived(receiver, 1)
            tested = await command("test", "hub", config=config)
            assert "Accepted: 200" in tested
        first, sample = hub.requests
        for request in (first, sample):
            mac = hmac.new(SECRET.encode(), request.body, hashlib.sha256)
            assert request.header("X-Hub-Signature-256") == f"sha256={mac.hexdigest()}"
            assert request.header("X-LocallyGrown-Signature") == f"sha256={mac.hexdigest()}"
        based = shop.requests[0]
        mac = hmac.new(SECRET.encode(), based.body, hashlib.sha256)
        assert based.header("X-Shopify-Hmac-Sha256") == base64.b64encode(mac.digest()).decode()
        assert based.header("User-Agent") == "market/1"
        assert based.header("Content-Type") == "application/vnd.market+json"
        Webhook(WHSEC).verify(standard.requests[0].body, dict(standard.requests[0].headers))
        if NODE is not None:
            given = first.header("X-Hub-Signature-256") or ""
            assert node_verifies(first.body, given, "hex", "sha256=")
            assert node_verifies(based.body, based.header("X-Shopify-Hmac-Sha256") or "", "base64")
            assert not node_verifies(first.body + b" ", given, "hex", "sha256=")
    # And `verify` says the same of what arrived.
    body = tmp_path / "body.json"
    body.write_bytes(based.body)
    said = await command(
        "verify", str(body), "--subscription", "shop", "--signature",
        based.header("X-Shopify-Hmac-Sha256") or "", config=config,
    )  # fmt: skip
    assert said.startswith("valid: ")


def by_secret(authority: trustme.CA, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = receivers.server_tls(authority.issue_cert("localhost"))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


async def test_a_bank_with_an_authority_of_its_own_step_by_step(tmp_path: Path) -> None:
    """Each failure names the key to set; set and reloaded, the backlog is delivered at once."""
    make_spool(tmp_path / "spool.db")
    authority, clients = trustme.CA(), trustme.CA()
    authority_file(tmp_path, authority)
    certificate, key = client_files(tmp_path, clients)
    server = by_secret(authority, clients)
    async with open_receiver(tls=server, name="localhost") as bank:
        config = write_config(tmp_path, {"bank": {"url": bank.url, "retry": ["1h"] * 5}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed")
            explained = await command("explain", "evt_1", config=config)
            words = " ".join(explained.split())
            assert (
                "to trust a private authority, name its certificate in `tls: {ca: FILE}`" in words
            )

            change(config, "bank", tls={"ca": "ca.pem"})
            reloaded = await command("reload", config=config)
            assert "subscription bank: tls changed; 1 retry released: attempted now" in " ".join(
                reloaded.split()
            )
            await logged(relayd, "attempt_failed", attempt=2)
            tested = await run_command("test", "bank", "--config", str(config))
            assert tested.returncode == 1
            words = " ".join(tested.stdout.decode().split())
            assert "asks for a client certificate: name one in `tls: {certificate: FILE," in words

            named = {"ca": "ca.pem", "certificate": certificate.name, "key": key.name}
            change(config, "bank", tls=named)
            await command("reload", config=config)
            await arrived(bank, 1)
            await logged(relayd, "attempt_succeeded")
        checked = json.loads(await command("check", "--json", config=config))
        assert checked["subscriptions"][0]["tls"] == {
            "ca": str(tmp_path / "ca.pem"),
            "certificate": str(certificate),
            "key": str(key),
        }


async def test_a_renewed_certificate_is_taken_up_by_a_reload(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    authority, clients = trustme.CA(), trustme.CA()
    authority_file(tmp_path, authority)
    client_files(tmp_path, clients)
    serials: list[Any] = []

    async def note(conversation: Conversation) -> None:
        assert isinstance(conversation.stream, trio.SSLStream)
        serials.append(dict(conversation.stream.getpeercert())["serialNumber"])
        await answer(200)(conversation)

    server = by_secret(authority, clients)
    async with open_receiver(note, tls=server, name="localhost") as bank:
        named = {"ca": "ca.pem", "certificate": "client.crt", "key": "client.key"}
        config = write_config(tmp_path, {"bank": {"url": bank.url, "tls": named}})
        async with running(config):
            await emit(config, "evt_1", "evt_2")
            await arrived(bank, 2)
            _, key = client_files(tmp_path, clients, "other")
            other = key.read_bytes()
            good = (tmp_path / "client.key").read_bytes()
            # A file of two that does not fit the other is refused, and nothing changes.
            private(tmp_path / "client.key", other)
            refused = await run_command("reload", "--config", str(config))
            assert refused.returncode == 78
            words = " ".join(refused.stderr.decode().split())
            assert f"file {tmp_path}/client.key is not the private key of" in words
            private(tmp_path / "client.key", good)
            client_files(tmp_path, clients)
            reloaded = await command("reload", config=config)
            assert "subscription bank: tls changed" in reloaded
            await emit(config, "evt_3")
            await arrived(bank, 3)
    assert serials[0] == serials[1] != serials[2]


async def test_a_url_from_a_file_is_shown_nowhere_and_is_read_again(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(404), answer(200)) as hooks:
        host = hooks.url.removesuffix("hook")
        private(tmp_path / "hook", f"{host}services/T0TOKEN?key=Q0TOKEN\n".encode())
        wanted = {"url": {"file": "hook"}, "retry": ["1h"] * 3}
        config = write_config(tmp_path, {"chat": wanted})
        shown: list[str] = []
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed")
            commands = (
                ["status"], ["status", "--json"], ["deliveries", "--json"], ["explain", "evt_1"],
                ["show", "evt_1"], ["check"], ["check", "--json"], ["check", "--diff"],
                ["match", "order.created", "--sample"],
            )  # fmt: skip
            shown += [await command(*arguments, config=config) for arguments in commands]
            assert f"{host}…" in shown[5]
            assert "from the file" in shown[5]
            document = json.loads(shown[6])["subscriptions"][0]
            assert document["url"] == f"{host}…"
            assert document["url_from"] == f"file {tmp_path}/hook"
            private(tmp_path / "hook", b"T0TOKEN not a url")
            refused = await run_command("reload", "--config", str(config))
            assert refused.returncode == 78
            shown.append(refused.stderr.decode())
            assert "the URL in file" in " ".join(shown[-1].split())
            private(tmp_path / "hook", f"{host}services/U0TOKEN?key=Q0TOKEN\n".encode())
            shown.append(await command("check", "--diff", config=config))
            shown.append(await command("reload", config=config))
            assert "subscription chat: url changed; 1 retry released" in " ".join(shown[-1].split())
            await arrived(hooks, 2)
            shown.append(await command("test", "chat", config=config))
            shown += [json.dumps(line) for line in relayd.lines]
        assert [each.target.partition("?")[0] for each in hooks.requests] == [
            "/services/T0TOKEN", "/services/U0TOKEN", "/services/U0TOKEN",
        ]  # fmt: skip
    for each in shown:
        assert "TOKEN" not in each


async def test_a_subscription_without_a_daemon_is_tested_with_its_tls(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    authority = trustme.CA()
    authority_file(tmp_path, authority)
    async with open_receiver(tls=by_secret(authority), name="localhost") as bank:
        config = write_config(tmp_path, {"bank": {"url": bank.url}})
        failed = await run_command("test", "bank", "--config", str(config))
        assert failed.returncode == 1
        assert "`tls: {ca: FILE}`" in " ".join(failed.stdout.decode().split())
        change(config, "bank", tls={"ca": "ca.pem"})
        assert "Accepted: 200" in await command("test", "bank", config=config)


@pytest.mark.parametrize("ip", [4, 6])
async def test_one_family_where_a_name_has_both(tmp_path: Path, ip: int) -> None:
    """On this machine, `localhost` resolves to the loopback addresses in /etc/hosts."""
    make_spool(tmp_path / "spool.db")
    try:
        found = {family for family, *_ in await trio.socket.getaddrinfo("localhost", 80)}
    except OSError:
        found = set()
    if not {trio.socket.AF_INET, trio.socket.AF_INET6} <= found:
        pytest.skip("localhost has not both families here")
    async with (
        open_receiver(host="::1", name="localhost") as six,
        open_receiver(host="127.0.0.1", port=six.port, name="localhost") as four,
    ):
        config = write_config(
            tmp_path,
            {"shop": {"url": four.url, "ip": ip}},
            allow_networks=["127.0.0.0/8", "::1/128"],
        )
        async with running(config):
            await emit(config, "evt_1", "evt_2")
            await arrived(four if ip == 4 else six, 2)
            change(config, "shop", ip=10 - ip)
            await command("reload", config=config)
            await emit(config, "evt_3")
            await arrived(six if ip == 4 else four, 1)
            status = await asked("status", config=config)
            assert len(status["endpoints"]) == 1


async def test_an_ipv6_address_with_a_private_authority(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    authority = trustme.CA()
    authority_file(tmp_path, authority)
    server = receivers.server_tls(authority.issue_cert("::1"))
    async with open_receiver(tls=server, host="::1", name="[::1]") as bank:
        subscription = {"url": bank.url, "tls": {"ca": "ca.pem"}, "ip": 6}
        config = write_config(tmp_path, {"bank": subscription}, allow_networks=["::1/128"])
        async with running(config):
            await emit(config, "evt_1")
            await arrived(bank, 1)
            change(config, "bank", ip=4)
            refused = await run_command("reload", "--config", str(config))
            assert refused.returncode == 78
            assert "ip: is 4, and the URL has an IPv6 address" in refused.stderr.decode()
