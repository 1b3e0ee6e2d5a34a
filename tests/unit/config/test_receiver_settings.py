"""What suits a subscription to its receiver: signature, source of the URL, tls, ip, headers."""

import hmac
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from certificates import authority_file, client_files, private

from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import ConfigError, load_config
from relayd.config.load_in_child import load_config_in_child
from relayd.config.partial import read_partial_config
from relayd.config.transfer import pieces_of, received
from relayd.core.parts import whole
from relayd.core.subscription import HeaderSignature

SECRET = "hunter2-hunter2-hunter2"
HOOK = "https://hooks.example/services/T0TOKEN/B0TOKEN?key=Q0TOKEN"
AUTHORITY = trustme.CA()


class Files:
    """A folder with a configuration in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"

    def write(self, *subscriptions: Mapping[str, object], **other: object) -> None:
        common = {"url": "https://a.example/", "events": ["*"], "secret": SECRET}
        named = {f"s{n}": common | dict(each) for n, each in enumerate(subscriptions)}
        file: dict[str, Any] = {
            "market_id": "m",
            "spools": {"market": {"path": "spool.db"}},
            "queue": {"path": "queue.db"},
            **other,
            "subscriptions": named,
        }
        self.path.touch(0o600)
        self.path.write_text(yaml.safe_dump(file, sort_keys=False))

    def load(self, *subscriptions: Mapping[str, object], **other: object) -> Config:
        if subscriptions:
            self.write(*subscriptions, **other)
        return load_config(self.path, environ=dict(os.environ))

    def problems(self, *subscriptions: Mapping[str, object], **other: object) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(*subscriptions, **other)
        shown = str(caught.value)
        assert "TOKEN" not in shown + repr(caught.value.problems)
        assert all(each.line and each.column for each in caught.value.problems)
        return [line.removeprefix(f"{self.path}:") for line in shown.splitlines()]

    def problem(self, *subscriptions: Mapping[str, object], **other: object) -> str:
        (only,) = self.problems(*subscriptions, **other)
        return only


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# url: {file: …}


def test_a_url_from_a_file_is_the_url(files: Files) -> None:
    private(files.folder / "url", f"{HOOK}\n".encode())
    config = files.load({"url": {"file": "url"}})
    assert config.subscriptions["s0"].url == HOOK
    assert config.subscriptions["s0"].url_source == f"file {files.folder / 'url'}"
    assert list(config.endpoints) == [HOOK]


def test_a_url_from_a_variable_and_from_a_credential(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(files.folder / "hook", HOOK.encode())
    monkeypatch.setenv("HOOK_URL", HOOK)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(files.folder))
    config = files.load({"url": {"env": "HOOK_URL"}}, {"url": {"credential": "hook"}})
    assert [each.url for each in config.subscriptions.values()] == [HOOK, HOOK]
    assert list(config.endpoints) == [HOOK], "one URL is one endpoint, wherever it is read from"


def test_no_repr_has_the_url(files: Files) -> None:
    private(files.folder / "url", HOOK.encode())
    config = files.load({"url": {"file": "url"}})
    shown = repr(config.subscriptions["s0"]) + repr(config.endpoints[HOOK])
    assert "TOKEN" not in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file {file} is empty"),
        (b"T0TOKEN", "the URL in file {file}: must begin with https://"),
        (b"https://T0TOKEN T0TOKEN", "must not contain spaces or line breaks"),
        (b"https://hooks.example/T0TOKEN\nhttps://b.example/T0TOKEN\n", "contains invisible"),
        (f'"{HOOK}"'.encode(), "file {file} is in quotes, which are part of it"),
        (f"URL={HOOK}".encode(), "begins with a name and =, which are part of it"),
        (f"\ufeff{HOOK}".encode(), "begins with a byte order mark"),
        (b"http://hooks.example/T0TOKEN", "http: is not encrypted"),
        (b"https://127.0.0.1/T0TOKEN", "the URL in file {file}: 127.0.0.1"),
        (b"https://user:T0TOKEN@hooks.example/", "must not contain a user or password"),
        (b"\xff\xfeT0TOKEN", "is not text in UTF-8"),
    ],
)
def test_what_a_file_of_a_url_may_not_hold(files: Files, content: bytes, said: str) -> None:
    path = private(files.folder / "url", content)
    found = files.problem({"url": {"file": "url"}})
    assert found.startswith("10:7: subscriptions.s0.url: ")
    assert said.format(file=path) in found


def test_a_file_of_a_url_is_kept_as_a_secret_is(files: Files) -> None:
    path = private(files.folder / "url", HOOK.encode())
    path.chmod(0o644)
    found = files.problem({"url": {"file": "url"}})
    assert f"file {path} may be read by everybody on this machine (chmod o= {path})" in found
    path.unlink()
    assert f"file {path} does not exist" in files.problem({"url": {"file": "url"}})
    assert "is not set" in files.problem({"url": {"env": "NO_SUCH_URL"}})
    found = files.problem({"url": {"file": "url", "env": "X"}})
    assert "must have exactly one of file, env and credential" in found


def test_a_url_that_became_a_key_is_not_shown(files: Files) -> None:
    (found,) = files.problems({"url": {HOOK: 1}})
    assert found.startswith("10:7: subscriptions.s0.url: unknown key")
    (found,) = files.problems({"url": {HOOK: None}})
    assert found.startswith("10:7: subscriptions.s0.url: has no value")
    (found,) = files.problems({"url": {"fil": "url"}})
    assert found == "10:7: subscriptions.s0.url: unknown key (did you mean `file`?)"


def test_commands_know_the_subscription_whose_url_they_may_not_read(files: Files) -> None:
    files.write({"url": {"file": "missing"}, "events": ["order.*"]}, {})
    partial = read_partial_config(files.path)
    assert partial.subscriptions["s0"].selection.events == ("order.*",)
    assert partial.doubtful == frozenset()
    assert list(partial.endpoints) == ["https://a.example/"]


def test_another_content_of_the_file_is_another_url(files: Files) -> None:
    private(files.folder / "url", HOOK.encode())
    old = files.load({"url": {"file": "url"}})
    assert not difference(old, files.load())
    private(files.folder / "url", HOOK.replace("Q0", "R0").encode())
    found = difference(old, files.load())
    assert found.lines() == ["subscription s0: url changed"]
    assert found.released == {"s0"}


# signature: {header: …}


def test_a_header_of_ones_own(files: Files) -> None:
    config = files.load(
        {"signature": {"header": "X-Hub-Signature-256", "prefix": "sha256=", "encoding": "hex"}},
        {"signature": {"header": "X-Shop-Hmac", "encoding": "base64"}},
        {"signature": {"header": "X-Plain"}},
        {"signature": "standard", "secret": "whsec_hunter2Xhunter2Xhunter2Xhunter2X"},
        {},
    )
    assert [each.signature for each in config.subscriptions.values()] == [
        HeaderSignature("X-Hub-Signature-256", "sha256=", "hex"),
        HeaderSignature("X-Shop-Hmac", "", "base64"),
        HeaderSignature("X-Plain", "", "hex"),
        "standard",
        "locallygrown",
    ]


def test_one_for_all_and_one_that_differs(files: Files) -> None:
    defaults = {"signature": {"header": "X-Signature"}}
    config = files.load({}, {"signature": "locallygrown"}, defaults=defaults)
    assert [each.signature for each in config.subscriptions.values()] == [
        HeaderSignature("X-Signature"),
        "locallygrown",
    ]


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ({"header": "X-LocallyGrown-Event"}, "signature.header: is a header that relayd sets"),
        ({"header": "HOST"}, "signature.header: is a header that relayd sets"),
        ({"header": "User-Agent"}, "signature.header: is a header that relayd sets"),
        ({"header": "content-type"}, "signature.header: is a header that relayd sets"),
        ({"header": "Accept"}, "signature.header: is a header that relayd sets"),
        ({"header": "webhook-id"}, "signature.header: is a header that relayd sets"),
        ({"header": "X Signature"}, "signature.header: is not a valid header name"),
        ({"header": "X-Signature:"}, "signature.header: is not a valid header name"),
        ({"header": ""}, "signature.header: is not a valid header name"),
        ({"header": 5}, "signature.header: must be text, and is a number"),
        ({"prefix": "sha256="}, "signature.header: is missing (write `header: X-Hub-Sig"),
        ({"header": "X-A", "prefix": "a\r\nb"}, "signature.prefix: must be up to 64 printable"),
        ({"header": "X-A", "prefix": " a"}, "signature.prefix: must be up to 64 printable"),
        ({"header": "X-A", "prefix": "ü"}, "signature.prefix: must be up to 64 printable"),
        ({"header": "X-A", "encoding": "base46"}, "must be hex or base64 (did you mean base64?)"),
        ({"header": "X-A", "algorithm": "sha1"}, "signature.algorithm: unknown key (known here"),
        ({"header": "X-A", "prefx": "a"}, "unknown key (did you mean `prefix`?)"),
        ("hmac", "signature: must be locallygrown or standard"),
        ([], "signature: must be locallygrown or standard"),
    ],
)
def test_what_a_header_of_ones_own_may_not_be(files: Files, signature: object, said: str) -> None:
    assert said in files.problem({"signature": signature})


def test_a_header_that_is_set_twice(files: Files) -> None:
    found = files.problem({"signature": {"header": "X-Sig"}, "headers": {"x-sig": "a"}})
    assert found == (
        "16:7: subscriptions.s0.headers.x-sig: is also the header of the signature:"
        " subscriptions.s0.signature.header, line 14 (keep one)"
    )
    found = files.problem({"signature": {"header": "X-Sig"}}, defaults={"headers": {"X-SIG": "a"}})
    assert found.startswith(
        "9:5: defaults.headers.X-SIG: is also the header of the signature: subs"
    )


def test_a_previous_secret_does_not_sign_it(files: Files) -> None:
    old = "the-old-one-hunter2"
    config = files.load({"signature": {"header": "X-Sig"}, "previous_secret": old}, {})
    (warning,) = config.warnings
    assert "previous_secret: does not sign X-Sig, which is made with `secret` alone" in str(warning)


# headers


def test_content_type_and_user_agent_may_be_set(files: Files) -> None:
    own = {"User-Agent": "market/1", "content-type": "application/vnd.market+json"}
    config = files.load({"headers": own})
    assert dict(config.subscriptions["s0"].headers) == own
    for name in ("Host", "Content-Length", "Transfer-Encoding", "X-LocallyGrown-Attempt"):
        found = files.problem({"headers": {name: "a"}})
        assert f"headers.{name}: is a header that relayd sets itself" in found


# ip


def test_one_family_of_addresses(files: Files) -> None:
    config = files.load(
        {"ip": 4},
        {"url": "https://b.example/", "ip": 6},
        {"url": "https://c.example/"},
        {"url": "https://[2606:4700::1111]/", "ip": 6},
    )
    assert [each.ip for each in config.endpoints.values()] == [4, 6, None, None]
    config = files.load({}, {"url": "https://[2606:4700::1111]/"}, defaults={"ip": 4})
    assert [each.ip for each in config.endpoints.values()] == [4, None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ip": 5}, "ip: must be 4 or 6, and is a number"),
        ({"ip": "4"}, "ip: must be 4 or 6, and is text (leave out the quotes)"),
        ({"ip": "v6"}, "ip: must be 4 or 6"),
        (
            {"ip": 4, "url": "https://[2606:4700::1111]/"},
            "ip: is 4, and the URL has an IPv6 address",
        ),
        ({"ip": 6, "url": "https://1.1.1.1/"}, "ip: is 6, and the URL has an IPv4 address"),
    ],
)
def test_what_a_family_may_not_be(files: Files, given: dict[str, object], said: str) -> None:
    assert said in files.problem(given)


# tls


def test_paths_are_taken_from_the_files_folder(files: Files) -> None:
    ca = authority_file(files.folder, AUTHORITY)
    certificate, key = client_files(files.folder, AUTHORITY)
    named = {"ca": ca.name, "certificate": certificate.name, "key": key.name}
    (endpoint,) = files.load({"tls": named}).endpoints.values()
    assert str(endpoint.tls) == f"ca {ca}, certificate {certificate}, key {key}"


def test_defaults_are_for_https_without_settings_of_its_own(files: Files) -> None:
    ca = authority_file(files.folder, AUTHORITY)
    config = files.load(
        {},
        {"url": "https://b.example/", "tls": {}},
        {"url": "http://127.0.0.1/"},
        defaults={"tls": {"ca": ca.name}},
        allow_networks=["127.0.0.0/8"],
    )
    assert [each.tls is None for each in config.endpoints.values()] == [False, True, True]


def test_what_is_wrong_with_the_files_is_said_where_they_are_named(files: Files) -> None:
    nowhere = {"ca": "nowhere.pem", "certificate": "nowhere.crt"}
    found = files.problems({"tls": nowhere})
    assert found == [
        f"14:11: subscriptions.s0.tls.ca: file {files.folder}/nowhere.pem does not exist",
        (
            "15:20: subscriptions.s0.tls.certificate: needs `key:` beside it (both may name one"
            " file that holds the two)"
        ),
    ]
    assert len(files.problems({}, {}, defaults={"tls": {"ca": "nowhere.pem"}})) == 1
    found = files.problems({"tls": {"cafile": "a"}})
    assert "tls.cafile: unknown key" in found[0]
    allowed = ["127.0.0.0/8"]
    http = {"url": "http://127.0.0.1/", "tls": {"ca": "a"}}
    assert "tls: is for https, and the URL is http" in files.problem(http, allow_networks=allowed)
    assert "tls.ca: must be text, and is a number" in files.problem({"tls": {"ca": 1}})


def test_a_certificate_that_has_expired_is_warned_of(files: Files) -> None:
    certificate, key = client_files(files.folder, AUTHORITY, expires_in=timedelta(days=-2))
    named = {"certificate": certificate.name, "key": key.name}
    config = files.load({"tls": named}, {"tls": named})
    assert len(config.warnings) == 2
    for number, warning in enumerate(config.warnings):
        assert f"subscriptions.s{number}.tls.certificate: file {certificate} expired" in str(
            warning
        )


# what subscriptions share


def test_one_url_has_one_tls_and_one_family(files: Files) -> None:
    ca = authority_file(files.folder, AUTHORITY)
    found = files.problem({"tls": {"ca": ca.name}}, {})
    assert found == (
        f"15:3: subscriptions.s1.tls: is not set here and `ca {ca}` for the same URL in"
        " subscriptions.s0, line 8 (subscriptions with one URL share its connections: write"
        " the same in both)"
    )
    found = files.problem({"ip": 4}, {"ip": 6})
    assert "subscriptions.s1.ip: is `6` here and `4` for the same URL in subscriptions.s0" in found
    copy = authority_file(files.folder, AUTHORITY, "copy.pem")
    assert len(files.load({"tls": {"ca": ca.name}}, {"tls": {"ca": copy.name}}).endpoints) == 1


def test_what_a_reload_changes_is_named_and_releases(files: Files) -> None:
    ca = authority_file(files.folder, AUTHORITY)
    plain = files.load({})
    for changed in (
        {"tls": {"ca": ca.name}},
        {"ip": 6},
        {"signature": {"header": "X-Sig"}},
        {"headers": {"User-Agent": "market/1"}},
    ):
        (key,) = changed
        found = difference(plain, files.load(changed))
        assert found.lines() == [f"subscription s0: {key} changed"]
        assert found.released == {"s0"}
    old = files.load({"tls": {"ca": ca.name}})
    authority_file(files.folder, trustme.CA())
    assert difference(old, files.load()).lines() == ["subscription s0: tls changed"]


def test_each_of_them_is_part_of_what_requests_are_made_with(files: Files) -> None:
    ca = authority_file(files.folder, AUTHORITY)

    def mark(given: Mapping[str, object]) -> bytes:
        config = files.load(given)
        only = config.subscriptions["s0"]
        return only.made_with(b"key", config.endpoints[only.url])

    given: list[Mapping[str, object]] = [
        {},
        {"ip": 4},
        {"ip": 6},
        {"tls": {"ca": ca.name}},
        {"signature": {"header": "X-Sig"}},
        {"signature": {"header": "X-Sig", "encoding": "base64"}},
        {"signature": {"header": "X-Sig", "prefix": "a"}},
        {"signature": {"header": "X-Other"}},
        {"headers": {"User-Agent": "market/1"}},
    ]
    marks = [mark(each) for each in given]
    assert len(set(marks)) == len(marks)
    assert marks == [mark(each) for each in given]


def test_the_mark_of_a_subscription_without_them_is_what_it_was(files: Files) -> None:
    """An upgrade releases nothing: the queue keeps the mark that an older relayd made."""
    config = files.load({"headers": {"X-A": "b"}})
    mac = hmac.new(b"key", digestmod="sha256")
    for part in (SECRET, "locallygrown", "X-A", "b"):
        mac.update(f"{len(part)}:{part}".encode())
    only = config.subscriptions["s0"]
    assert only.made_with(b"key", config.endpoints[only.url]) == mac.digest()[:4]


# on the way to the daemon


def test_all_of_it_comes_through_the_child(files: Files) -> None:
    private(files.folder / "url", HOOK.encode())
    ca = authority_file(files.folder, AUTHORITY)
    certificate, key = client_files(files.folder, AUTHORITY)
    tls = {"ca": ca.name, "certificate": certificate.name, "key": key.name}
    signature = {"header": "X-Sig", "encoding": "base64"}
    only = {"url": {"file": "url"}, "tls": tls, "ip": 4, "signature": signature}
    config = files.load(only)
    came = load_config_in_child(files.path, environ={})
    assert came == config
    sent, got = config.endpoints[HOOK].tls, came.endpoints[HOOK].tls
    assert sent is not None
    assert got is not None
    assert (got.ca, got.authorities, got.client) == (sent.ca, sent.authorities, sent.client)


def test_thousands_of_endpoints_share_one_setting(files: Files) -> None:
    ca = files.folder / "ca.pem"
    ca.write_bytes(b"".join(trustme.CA().cert_pem.bytes() for _ in range(50)))
    many = [{"url": f"https://a.example/{n}"} for n in range(300)]
    config = files.load(*many, defaults={"tls": {"ca": ca.name}})
    raw = b"".join(pieces_of(config))
    one = next(iter(config.endpoints.values())).tls
    assert one is not None
    assert one.authorities is not None
    assert len(raw) < 300 * 1000 + 2 * len(one.authorities)
    came = whole(received(memoryview(raw)))
    settings = {id(each.tls) for each in came.endpoints.values()}
    assert len(settings) == 1
    again = whole(received(memoryview(raw), came))
    assert again.endpoints["https://a.example/7"] is came.endpoints["https://a.example/7"]
    # Another endpoint with the setting that is in force has the very same, too.
    more = files.load(*many, {"url": "https://b.example/"}, defaults={"tls": {"ca": ca.name}})
    newer = whole(received(memoryview(b"".join(pieces_of(more))), came))
    assert {id(each.tls) for each in newer.endpoints.values()} == settings


# format


def chat(**keys: object) -> dict[str, object]:
    return {"format": "slack", **keys}


def test_a_format_needs_no_secret(files: Files) -> None:
    files.write(chat(), {"format": "text", "headers": {"Content-Type": "text/markdown"}})
    document = yaml.safe_load(files.path.read_text())
    del document["subscriptions"]["s0"]["secret"]
    document["defaults"] = {"headers": {"Content-Type": "application/cloudevents+json", "X-A": "1"}}
    files.path.write_text(yaml.safe_dump(document))
    config = files.load()
    chatting, texting = config.subscriptions.values()
    assert (chatting.format, chatting.secret) == ("slack", None)
    # The defaults' Content-Type is that of events.
    assert chatting.headers == (("X-A", "1"),)
    assert dict(texting.headers) == {"X-A": "1", "Content-Type": "text/markdown"}
    assert whole(received(memoryview(b"".join(pieces_of(config))))) == config


def test_without_a_format_the_secret_is_missing(files: Files) -> None:
    files.write({"format": "slack"})
    document = yaml.safe_load(files.path.read_text())
    del document["subscriptions"]["s0"]["secret"], document["subscriptions"]["s0"]["format"]
    files.path.write_text(yaml.safe_dump(document))
    (problem,) = files.problems()
    assert "subscriptions.s0.secret: is missing (write `secret: {file: PATH}`)" in problem


def test_what_is_about_a_signature_needs_a_secret(files: Files) -> None:
    files.write(chat(signature="standard", previous_secret=SECRET))
    document = yaml.safe_load(files.path.read_text())
    del document["subscriptions"]["s0"]["secret"]
    files.path.write_text(yaml.safe_dump(document))
    problems = files.problems()
    assert len(problems) == 2
    assert all("is about a signature, and there is no secret" in each for each in problems)


def test_another_word_for_a_format(files: Files) -> None:
    problem = files.problem({"format": "slak"})
    assert "format: must be slack, discord or text" in problem
    assert "did you mean slack?" in problem


def test_another_format_releases_the_backlog(files: Files) -> None:
    before = files.load({})
    after = files.load(chat())
    changed = difference(before, after)
    assert changed.subscriptions.changed == {"s0": ("format",)}
    assert changed.released == {"s0"}
    (old,), (new,) = before.subscriptions.values(), after.subscriptions.values()
    endpoint = before.endpoints[old.url]
    assert old.made_with(b"key", endpoint) != new.made_with(b"key", endpoint)
