"""Where secrets come from: never an empty one, and never one in a message."""

import os
from pathlib import Path

import pytest

from relayd.config.secrets import (
    MAX_BYTES,
    NoSecret,
    credential_secret,
    env_secret,
    file_secret,
    mistakes,
    standard_problem,
    text_secret,
    weaknesses,
)
from relayd.core.secret import Secret, SourcedSecret

GOOD = "4f1c9a7d2be84d6fa5c0"


def private(path: Path, raw: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("raw", "secret"),
    [
        (b"one", "one"),
        (b"one\n", "one"),
        (b"one\r\n", "one"),
        (b"one\n\n", "one\n"),
        (b" one ", " one "),
        ("\N{SNOWMAN}".encode(), "\N{SNOWMAN}"),
    ],
)
def test_a_file_loses_its_last_line_break_only(tmp_path: Path, raw: bytes, secret: str) -> None:
    path = private(tmp_path / "secret", raw)
    assert file_secret(path) == SourcedSecret(Secret(secret), f"file {path}")


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n"])
def test_an_empty_file_is_no_secret(tmp_path: Path, raw: bytes) -> None:
    missing = file_secret(private(tmp_path / "secret", raw))
    assert isinstance(missing, NoSecret)
    assert missing.message.endswith("is empty")


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "secret", GOOD.encode(), 0o644)
    refused = file_secret(path)
    assert isinstance(refused, NoSecret)
    assert "everybody" in refused.message
    assert refused.hint == f"chmod o= {path}"
    path.chmod(0o640)
    assert isinstance(file_secret(path), SourcedSecret)


def test_what_cannot_be_read_is_told_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in [
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "pipe", "is not a file"),
        (private(tmp_path / "binary", b"\xff\xfe"), "UTF-8"),
        (private(tmp_path / "large", b"x" * (MAX_BYTES + 1)), "larger than 64 KiB"),
    ]:
        missing = file_secret(path)
        assert isinstance(missing, NoSecret)
        assert said in missing.message


def test_variables() -> None:
    environ = {"FULL": GOOD, "EMPTY": "", "ODD": "\udcff"}
    assert env_secret("FULL", environ) == SourcedSecret(Secret(GOOD), "env FULL")
    for name, said in [("NONE", "is not set"), ("EMPTY", "is empty"), ("ODD", "UTF-8")]:
        missing = env_secret(name, environ)
        assert isinstance(missing, NoSecret)
        assert name in missing.message
        assert said in missing.message


def test_credentials_come_from_systemds_directory(tmp_path: Path) -> None:
    private(tmp_path / "shop", GOOD.encode() + b"\n", 0o444)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential_secret("shop", environ) == SourcedSecret(Secret(GOOD), "credential shop")
    missing = credential_secret("other", environ)
    assert isinstance(missing, NoSecret)
    assert missing.message == "credential other does not exist"
    outside = credential_secret("shop", {})
    assert isinstance(outside, NoSecret)
    assert "CREDENTIALS_DIRECTORY is not set" in outside.message


@pytest.mark.parametrize("text", ["", "${SECRET}", "$SECRET", "{{ secret }}", "<your secret>"])
def test_placeholders_are_no_secrets(text: str) -> None:
    assert isinstance(text_secret(text), NoSecret)


def test_weaknesses_are_told_without_the_secret() -> None:
    assert weaknesses(SourcedSecret(Secret(GOOD), "text")) == []
    found = weaknesses(SourcedSecret(Secret("hunter2 "), "text"))
    assert [each.message for each in found] == [
        "is shorter than 16 characters, and could be guessed",
        "begins or ends with white space, which is part of it",
    ]
    assert "hunter2" not in str(found)


def test_json_is_hardly_a_secret_but_may_be_a_header() -> None:
    sourced = SourcedSecret(Secret(f'{{"secret": "{GOOD}"}}'), "text")
    assert mistakes(sourced) == []
    [found] = weaknesses(sourced)
    assert found.message == "is JSON as a whole"
    assert weaknesses(SourcedSecret(Secret(f"{{{GOOD}}}"), "text")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ufeff" + GOOD, ["byte order mark"]),
        (f'"{GOOD}"', ["in quotes"]),
        (f"'{GOOD}'", ["in quotes"]),
        (f"\u201c{GOOD}\u201d", ["in quotes"]),
        (f"SECRET={GOOD}", ["a name and ="]),
        (f"export WEBHOOK_SECRET='{GOOD}'", ["a name and ="]),
        (f"\ufeffSECRET={GOOD}", ["byte order mark", "a name and ="]),
        (f"secret: {GOOD}", ["begins with a name and a colon"]),
        (f"bookkeeping:  {GOOD}", ["begins with a name and a colon"]),
        (f"webhook_secret: '{GOOD} and more'", ["begins with a name and a colon"]),
        (f"{GOOD}\\n", ["ends with a backslash and n"]),
        (f"{GOOD}\\r\\n", ["ends with a backslash and n"]),
        (f"{GOOD}\\r", ["ends with a backslash and r"]),
        (f"replace-me-{GOOD}", ["an example, which everybody knows"]),
        (f"CHANGEME {GOOD}", ["an example"]),
        (f"your_webhook_secret {GOOD}", ["an example"]),
        ("whsec_cmVwbGFjZS1tZS13aXRoLXJhbmRvbS1ieXRlcw==", ["an example"]),
        (f"{GOOD}\0", ["U+0000 (NUL)"]),
        (f"{GOOD[:9]}\u200b{GOOD[9:]}", ["U+200B (zero width space)"]),
        (f"{GOOD[:9]}\xa0{GOOD[9:]}", ["U+00A0 (no-break space)"]),
        (f"{GOOD[:9]}\xad\u2060\u202e{GOOD[9:]}", ["U+00AD", "U+2060", "U+202E"]),
        (f"{GOOD}\n{GOOD}", ["U+000A (line break)"]),
        (f"{GOOD}\u3164", ["U+3164"]),
        (f"{GOOD}\ufe0f{GOOD}", ["U+FE0F"]),
        ("".join(map(chr, range(1, 9))) + GOOD, ["and 3 more"]),
    ],
)
def test_what_was_surely_not_meant_is_warned_of(text: str, said: list[str]) -> None:
    found = str(mistakes(SourcedSecret(Secret(text), "text")))
    for words in said:
        assert words in found
    assert GOOD not in found
    assert GOOD[:9] not in found
    # The same from a file.
    assert set(mistakes(SourcedSecret(Secret(text), "text"))) <= set(
        weaknesses(SourcedSecret(Secret(text), "text"))
    )


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "whsec_aHVuZHJlZC1hbmQtdHdlbnR5LXJhbmRvbS1iaXRz",
        "user:a-password-of-some-length",
        "replacement-of-the-one-before",
        "keys \\ and \\nodes",
        f"{{{GOOD}}}",
        "chapter:verse: one",
        "cmVwbGFjZS1tZS13aXRoLXJhbmRvbS1ieXRlcw==",
        "abcdefghijklmnop=",
        "correct horse battery staple",
        "x=y&z?'q\"-and-more",
        "grüße-aus-köln-\N{SNOWMAN}",
    ],
)
def test_what_may_be_meant_is_not_warned_of(text: str) -> None:
    assert mistakes(SourcedSecret(Secret(text), "text")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD, "must be whsec_ and base64"),
        ("cmVwbGFjZS1tZS13aXRoLXJhbmRvbS1ieXRlcw==", "must be whsec_ and base64"),
        ("WHSEC_cmVwbGFjZS1tZS13aXRoLXJhbmRvbS1ieXRlcw==", "must be whsec_ and base64"),
        ("whsec_" + "A" * 32, None),  # 24 bytes
        ("whsec_" + "A" * 31, "must contain base64"),
        ("whsec_" + "A" * 28, "of 24 to 64 bytes after whsec_, not of 21"),
        ("whsec_" + "A" * 84 + "AA==", None),  # 64
        ("whsec_" + "A" * 84 + "AAA=", "not of 65"),
        ("whsec_" + "A" * 84 + "AA", "must contain base64"),
        ("whsec_" + "A" * 84 + "AA==\n", "must contain base64"),
        ("whsec_" + "-_" * 16, "must contain base64"),
        ("whsec_" + "A" * 32 + "\n", "must contain base64"),
        ("whsec_ " + "A" * 32, "must contain base64"),
        ("whsec_", "must contain base64"),
        ("whsec_not base64!", "must contain base64"),
        ("whsec_\N{SNOWMAN}", "must contain base64"),
    ],
)
def test_standard_secrets(text: str, said: str | None) -> None:
    problem = standard_problem(SourcedSecret(Secret(text), "text"))
    if said is None:
        assert problem is None
        return
    assert problem is not None
    assert said in problem.message
    assert "openssl rand -base64 32" in problem.hint
