"""`sign` and `verify`: both schemes, each source of a secret, and what went wrong in plain words."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from processes import SECRET, write_config

from relayd.cli import cli

BODY = '{"id":"evt_1","n":1.5}'
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

# From an independent implementation: printf %s BODY | openssl dgst -sha256 -hmac SECRET
BASE64 = "H5b0oWs1rprcF+P5e+VlKpocnrMOBobboljjstLu8gY="
"""As: printf %s BODY | openssl dgst -sha256 -hmac SECRET -binary | base64"""
SIGNATURE = "sha256=1f96f4a16b35ae9adc17e3f97be5652a9a1c9eb30e0686dba258e3b2d2eef206"


def run(*arguments: str, body: str | bytes = BODY) -> Result:
    return CliRunner().invoke(cli, list(arguments), input=body)


def headers(*arguments: str, body: str | bytes = BODY) -> dict[str, str]:
    result = run("sign", "--json", *arguments, body=body)
    assert result.exit_code == 0, result.output
    found: dict[str, str] = json.loads(result.stdout)["headers"]
    return found


def verified(*arguments: str, body: str | bytes = BODY, status: int = 0) -> dict[str, Any]:
    result = run("verify", "--json", *arguments, body=body)
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["verified"] is (status == 0)
    return found


def test_the_signature_is_that_of_openssl() -> None:
    result = run("sign", "--secret", SECRET)
    assert result.stdout == f"X-LocallyGrown-Signature: {SIGNATURE}\n"
    assert result.stderr == ""
    found = verified("--secret", SECRET, "--signature", SIGNATURE)
    assert (found["raw"], found["stringified"], found["code"]) == (True, True, "right")


def test_each_source_of_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(SECRET + "\n")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1/"}})
    for source in (
        ["--secret", SECRET],
        ["--secret-file", str(file)],
        ["--secret-env", "HOOK_SECRET"],
        ["--subscription", "books", "--config", str(config)],
    ):
        assert headers(*source) == {"X-LocallyGrown-Signature": SIGNATURE}


HUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
EVERYBODY = ["--secret", "It's a Secret to Everybody"]
"""GitHub's own example: docs.github.com, Validating webhook deliveries."""


def test_a_header_of_the_operators_own() -> None:
    named = ["--header", "X-Hub-Signature-256", "--prefix", "sha256="]
    result = run("sign", *EVERYBODY, *named, body="Hello, World!")
    assert result.stdout == f"X-Hub-Signature-256: {HUB}\n"
    found = verified(*EVERYBODY, *named, "--signature", HUB, body="Hello, World!")
    assert (found["scheme"], found["code"]) == ("header", "raw_only")
    based = ["--header", "X-Shop", "--encoding", "base64"]
    (signature,) = headers("--secret", SECRET, *based).values()
    assert signature == BASE64
    assert verified("--secret", SECRET, *based, "--signature", signature)["code"] == "right"
    wrong = ["--scheme", "header", "--signature", SIGNATURE]
    assert verified("--secret", SECRET, *based, *wrong, status=1)["code"] == "wrong"


def test_the_header_of_a_subscription(tmp_path: Path) -> None:
    hub = {"header": "X-Hub-Signature-256", "prefix": "sha256="}
    shop = {"header": "X-Shop", "encoding": "base64"}
    there = {"url": "http://127.0.0.1/"}
    config = write_config(
        tmp_path,
        {"hub": {**there, "signature": hub}, "shop": {**there, "signature": shop}, "books": there},
    )

    def of(name: str) -> list[str]:
        return ["--subscription", name, "--config", str(config)]

    assert headers(*of("hub")) == {"X-LocallyGrown-Signature": SIGNATURE}
    assert headers(*of("hub"), "--scheme", "header") == {"X-Hub-Signature-256": SIGNATURE}
    assert headers(*of("shop"), "--scheme", "header") == {"X-Shop": BASE64}
    assert headers(*of("books"), "--header", "X-B") == {"X-B": SIGNATURE.removeprefix("sha256=")}
    # Whichever of its two headers the signature comes from.
    assert verified(*of("shop"), "--signature", BASE64)["scheme"] == "header"
    assert verified(*of("shop"), "--signature", SIGNATURE)["scheme"] == "locallygrown"
    assert verified(*of("hub"), "--signature", SIGNATURE)["verified"]
    assert verified(*of("shop"), "--signature", BASE64[::-1], status=1)["code"] == "wrong"
    without = run("sign", *of("books"), "--scheme", "header")
    assert without.exit_code == 2
    assert "a --subscription with `signature: {header: …}`" in without.stderr


def test_a_header_that_cannot_be_one_is_a_usage_error() -> None:
    for wrong, said in [
        (["--header", "X Sig"], "'X Sig' is not a valid header name"),
        (["--prefix", "sha256="], "--prefix and --encoding need --header"),
        (["--scheme", "header"], "Specify the header: --header"),
        (["--header", "X-Sig", "--id", "evt_1"], "--id and --timestamp need --scheme standard"),
        (["--header", "X-Sig", "--encoding", "base32"], "'base32' is not one of"),
    ]:
        result = run("sign", "--secret", SECRET, *wrong)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())


def test_no_secret_or_two_of_them_is_a_usage_error() -> None:
    assert "Specify the secret" in run("sign").stderr
    assert run("sign").exit_code == 2
    both = run("sign", "--secret", "a", "--secret-env", "b")
    assert both.exit_code == 2
    assert "Give one of" in both.stderr


def test_a_secret_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    unset = run("sign", "--secret-env", "HOOK_SECRET")
    assert (unset.exit_code, "HOOK_SECRET is not set" in unset.stderr) == (1, True)
    missing = run("sign", "--secret-file", str(tmp_path / "none"))
    assert (missing.exit_code, "does not exist" in missing.stderr) == (1, True)
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1/"}})
    unknown = run("sign", "--subscription", "bokos", "--config", str(config))
    assert (unknown.exit_code, "did you mean books?" in unknown.stderr) == (1, True)
    wrong = write_config(tmp_path, {"books": {"url": "ftp://x"}}, name="wrong.yaml")
    assert run("sign", "--subscription", "books", "--config", str(wrong)).exit_code == 78


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (BODY + "\n", "ends with a line break"),
        ("hello", "is not JSON"),
        ('{"id": "evt_1"}', "gives other bytes"),
    ],
)
def test_what_is_doubtful_about_a_body_is_told(body: str, note: str) -> None:
    result = run("sign", "--secret", SECRET, body=body)
    assert result.exit_code == 0
    assert note in result.stderr


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (BODY, "right", 0),
        ('{"id": "evt_1", "n": 1.50}', "stringified_only", 1),
        (BODY + "\r\n", "line_break", 1),
        ('{"id":"evt_2","n":1.5}', "wrong", 1),
        (b"\xff\x00", "wrong", 1),
    ],
)
def test_what_verify_finds(body: str | bytes, code: str, status: int) -> None:
    found = verified("--secret", SECRET, "--signature", SIGNATURE, body=body, status=status)
    assert found["code"] == code
    human = run("verify", "--secret", SECRET, "--signature", SIGNATURE, body=body)
    assert human.exit_code == status
    assert human.stdout.startswith("valid: " if status == 0 else "invalid: ")
    assert max(map(len, human.stdout.splitlines())) <= 80


def test_a_body_that_javascript_would_print_otherwise_is_right_over_its_bytes_only() -> None:
    body = '{"id":"evt_1","n":1.50}'
    signature = headers("--secret", SECRET, body=body)["X-LocallyGrown-Signature"]
    found = verified("--secret", SECRET, "--signature", signature, body=body)
    assert (found["code"], found["raw"], found["stringified"]) == ("raw_only", True, False)


def test_the_previous_secret_is_told_apart(tmp_path: Path) -> None:
    new = {"secret": "the-new-secret-of-this", "previous_secret": SECRET}
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1/", **new}})
    source = ["--subscription", "books", "--config", str(config)]
    assert verified(*source, "--signature", SIGNATURE, status=1)["code"] == "previous_secret"


def test_the_standard_scheme() -> None:
    now = int(time.time())
    found = headers("--secret", WHSEC, "--scheme", "standard")
    assert found["webhook-id"] == "evt_1"
    assert abs(int(found["webhook-timestamp"]) - now) < 60
    arguments = ["--secret", WHSEC, "--signature", f"v1,AAAA {found['webhook-signature']}"]
    arguments += ["--timestamp", found["webhook-timestamp"]]
    assert verified(*arguments)["scheme"] == "standard"
    assert verified(*arguments, "--id", "evt_1")["code"] == "right"
    assert verified(*arguments, "--id", "evt_2", status=1)["code"] == "wrong"


def test_the_standard_scheme_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks reference libraries' tests.
    found = headers(
        *("--secret", WHSEC, "--scheme", "standard"),
        *("--id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "--timestamp", "1614265330"),
        body='{"test": 2432232314}',
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_old_timestamp_is_told_apart_and_can_be_passed_over() -> None:
    found = headers("--secret", WHSEC, "--scheme", "standard", "--timestamp", "1640995200")
    arguments = ["--secret", WHSEC, "--signature", found["webhook-signature"]]
    arguments += ["--timestamp", "1640995200"]
    old = verified(*arguments, status=1)
    assert old["code"] == "timestamp"
    assert "s old" in old["detail"]
    assert verified(*arguments, "--any-age")["code"] == "right"


def test_the_standard_scheme_takes_whsec_and_base64_alone() -> None:
    for command in (
        ["sign", "--scheme", "standard"],
        ["verify", "--signature", "v1,AAAA", "--timestamp", "1640995200"],
    ):
        result = run(*command, "--secret", SECRET)
        assert result.exit_code == 1
        assert "Standard Webhooks takes whsec_ and base64" in result.stderr
        assert SECRET not in result.output


def test_options_of_the_standard_scheme_are_asked_for() -> None:
    assert run("sign", "--secret", "x", "--id", "a").exit_code == 2
    assert run("sign", "--secret", WHSEC, "--scheme", "standard", body="[]").exit_code == 2
    for timestamp in ([], ["--timestamp", "-1"], ["--timestamp", "1.5"]):
        result = run("verify", "--secret", "x", "--signature", "v1,x", *timestamp)
        assert (result.exit_code, "--timestamp is needed" in result.stderr) == (2, True)


@given(st.binary(max_size=200))
def test_any_bytes_are_signed_and_verified(body: bytes) -> None:
    signature = headers("--secret", SECRET, body=body)["X-LocallyGrown-Signature"]
    assert verified("--secret", SECRET, "--signature", signature, body=body)["raw"] is True


def test_a_secret_is_never_printed(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1/"}})
    for arguments in (
        ["sign", "--secret", SECRET],
        ["verify", "--secret", SECRET, "--signature", "x"],
        ["verify", "--subscription", "books", "--config", str(config), "--signature", "x"],
        ["sign", "--secret", SECRET, "--secret-env", "x"],
    ):
        assert SECRET not in run(*arguments).output
