"""Each signature scheme, against published vectors and an independent calculation."""

import base64
import hashlib
import hmac
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from relayd.core.delivery import Delivery, State
from relayd.core.matching import Selection
from relayd.core.secret import Secret, SourcedSecret
from relayd.core.signature import (
    RESERVED_HEADERS,
    STANDARD_TOLERANCE_S,
    sign,
    sign_header,
    sign_standard,
    signed_headers,
    verify,
    verify_header,
    verify_standard,
)
from relayd.core.subscription import HeaderSignature, Subscription

BODY = b'{"id":"evt_1"}'
SECRET = Secret("whisper")
STANDARD_SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, written out, so that the expected values do not come from the code under test."""
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def test_the_independent_calculation_by_rfc_4231s_second_vector() -> None:
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


# X-LocallyGrown-Signature


def test_a_signature_is_what_openssl_prints() -> None:
    """As of: printf '%s' '{"id":"evt_1"}' | openssl dgst -sha256 -hmac whisper"""
    assert sign(BODY, SECRET) == (
        "sha256=e102d222a511f93fe130ebbe4d513129cd1b3491fbd9bfce6fd558f20c3fbab7"
    )


def test_rfc_4231s_second_vector() -> None:
    assert sign(b"what do ya want for nothing?", Secret("Jefe")) == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@given(st.binary(), st.text())
def test_a_signature_is_the_hmac_under_the_secrets_utf8(body: bytes, secret: str) -> None:
    expected = "sha256=" + hmac_sha256(secret.encode(), body).hex()
    assert sign(body, Secret(secret)) == expected
    assert verify(body, expected, Secret(secret))


def test_surrounding_space_is_forgiven() -> None:
    assert verify(BODY, f" {sign(BODY, SECRET)}\n", SECRET)


@given(st.binary(), st.text() | st.text(st.characters(categories=["Cs"])))
def test_any_other_signature_is_wrong(body: bytes, signature: str) -> None:
    assert not verify(body, signature, SECRET)


@given(st.integers(0, len(BODY) * 8 - 1))
def test_one_bit_makes_it_wrong(bit: int) -> None:
    altered = bytearray(BODY)
    altered[bit // 8] ^= 1 << bit % 8
    assert not verify(bytes(altered), sign(BODY, SECRET), SECRET)
    assert not verify(BODY, sign(bytes(altered), SECRET), SECRET)


def test_a_bare_or_shortened_digest_is_wrong() -> None:
    signature = sign(BODY, SECRET)
    for wrong in (signature.removeprefix("sha256="), signature[:-1], signature.upper(), ""):
        assert not verify(BODY, wrong, SECRET)
    assert not verify(BODY, signature, Secret("whisper "))


def test_comparing_takes_the_same_time_wherever_they_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def same(expected: bytes, given: bytes) -> bool:
        compared.append((expected, given))
        return expected == given

    signature = sign(BODY, SECRET)
    monkeypatch.setattr(hmac, "compare_digest", same)
    assert not verify(BODY, f"sha256={'0' * 64}", SECRET)
    assert not verify_standard(
        BODY, "evt_1", "1700000000", "v1,a v1,b", STANDARD_SECRET, now=1_700_000_000
    )
    assert [given for _, given in compared] == [f"sha256={'0' * 64}".encode(), b"v1,a", b"v1,b"]
    assert compared[0][0] == signature.encode()


# Standard Webhooks


@pytest.mark.parametrize(
    ("secret", "event_id", "timestamp", "body", "signature"),
    [
        # The test "sign function works" of the specification's reference libraries.
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        # The worked example of https://docs.svix.com/receiving/verifying-payloads/how-manual,
        # from whose scheme the specification came.
        (
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1731705121,
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
    ],
)
def test_published_vectors(
    secret: str, event_id: str, timestamp: int, body: bytes, signature: str
) -> None:
    assert sign_standard(body, event_id, timestamp, Secret(secret)) == signature
    assert verify_standard(body, event_id, str(timestamp), signature, Secret(secret), now=timestamp)


@given(st.binary(), st.from_regex(r"[A-Za-z0-9_:-]{1,128}", fullmatch=True), st.integers(0, 10**11))
def test_a_standard_signature_is_the_hmac_of_id_time_and_body(
    body: bytes, event_id: str, timestamp: int
) -> None:
    key = b"\x00\xff raw"
    secret = Secret("whsec_" + base64.b64encode(key).decode())
    message = b".".join([event_id.encode(), str(timestamp).encode(), body])
    expected = "v1," + base64.b64encode(hmac_sha256(key, message)).decode()
    assert sign_standard(body, event_id, timestamp, secret) == expected
    assert verify_standard(body, event_id, str(timestamp), expected, secret, now=timestamp)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("whsec_AP8gcmF3", b"\x00\xff raw"),
        ("plain text", None),
        ("grüße", None),
        ("whsec_not base64!", None),
        ("whsec_abc", None),
        ("whsec_ä", None),
        # Base64 without the prefix is a text like any other.
        ("AP8gcmF3", None),
        # Anyone could sign with an empty key.
        ("whsec_", None),
        # Not every library reads these: without padding, in the URL's alphabet, or in lines.
        ("whsec_AP8gcmF3MQ", None),
        ("whsec_AP8gcmF3MQ==", b"\x00\xff raw1"),
        ("whsec_AP8gcmF3MR==", b"\x00\xff raw1"),  # bits left over: each of them passes them by
        ("whsec_AP-_cmF3", None),
        ("whsec_AP8g\ncmF3", None),
    ],
)
def test_keys(text: str, key: bytes | None) -> None:
    assert Secret(text).standard_key == key


def test_without_a_standard_key_nothing_is_signed_and_nothing_verified() -> None:
    with pytest.raises(ValueError, match="not whsec_") as caught:
        sign_standard(BODY, "evt_1", TIME, SECRET)
    assert "whisper" not in str(caught.value)
    assert not verify_standard(BODY, "evt_1", str(TIME), STANDARD, SECRET, now=TIME)


TIME = 1_700_000_000
OTHER = Secret("whsec_dGhlLW9uZS10aGF0LXdhcy1pbi11c2UtYmVmb3Jl")
STANDARD = sign_standard(BODY, "evt_1", TIME, STANDARD_SECRET)


def verified(
    *,
    body: bytes = BODY,
    event_id: str = "evt_1",
    timestamp: str = str(TIME),
    signatures: str = STANDARD,
    secret: Secret = STANDARD_SECRET,
    now: float = TIME,
) -> bool:
    return verify_standard(body, event_id, timestamp, signatures, secret, now=now)


def test_each_part_is_signed() -> None:
    assert verified()
    assert not verified(body=BODY + b" ")
    assert not verified(event_id="evt_2")
    assert not verified(timestamp=str(TIME + 1))
    assert not verified(secret=OTHER)


@pytest.mark.parametrize(
    ("shift_s", "expected"),
    [
        (0, True),
        (STANDARD_TOLERANCE_S, True),
        (-STANDARD_TOLERANCE_S, True),
        (STANDARD_TOLERANCE_S + 0.5, False),
        (-STANDARD_TOLERANCE_S - 0.5, False),
    ],
)
def test_the_time_must_be_near(shift_s: float, expected: bool) -> None:
    assert verified(now=TIME + shift_s) is expected


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "-1", "+1700000000", "1700000000.0", " 1700000000", "\u0661\u0667", "9" * 5000],
)
def test_a_time_that_is_none(timestamp: str) -> None:
    assert not verified(timestamp=timestamp)


def test_one_right_signature_of_several_is_enough() -> None:
    other = sign_standard(BODY, "evt_1", TIME, OTHER)
    assert verified(signatures=f"{other} {STANDARD}")
    assert verified(signatures=f"{STANDARD} {other}")
    assert verified(signatures=f"v1a,asymmetric {STANDARD}")
    assert not verified(signatures=other)


@pytest.mark.parametrize(
    "signatures",
    ["", " ", "v1,", STANDARD[:-1], STANDARD.removeprefix("v1,"), f"v2{STANDARD[2:]}", "\udcff"],
)
def test_signatures_that_are_none(signatures: str) -> None:
    assert not verified(signatures=signatures)


# The headers of an attempt

DELIVERY = Delivery(
    seq=7,
    id="dlv_ab12_7",
    subscription="bookkeeping",
    event_id="evt_1",
    event_type="order.created",
    state=State.PENDING,
    attempts=0,
    step=0,
    due_at=0.0,
    body=BODY,
)
SUBSCRIPTION = Subscription(
    name="bookkeeping",
    url="https://example.com/hook",
    selection=Selection(("order.*",)),
    active=True,
    secret=SourcedSecret(SECRET, "text"),
    previous_secret=None,
    signature="locallygrown",
    timeout_s=10.0,
    retry=(120.0,),
    headers=(),
)
PREVIOUS = SourcedSecret(Secret("murmur"), "env OLD")
BY_THE_STANDARD = replace(
    SUBSCRIPTION, signature="standard", secret=SourcedSecret(STANDARD_SECRET, "text")
)


def headers_of(
    subscription: Subscription, *, attempt: int = 1, now: float = TIME
) -> dict[str, str]:
    headers = signed_headers(DELIVERY, subscription, attempt=attempt, now=now)
    assert len({name.lower() for name, _ in headers}) == len(headers)
    return dict(headers)


def test_the_headers_of_an_attempt() -> None:
    assert headers_of(SUBSCRIPTION, attempt=3) == {
        "X-LocallyGrown-Signature": sign(BODY, SECRET),
        "X-LocallyGrown-Event": "order.created",
        "X-LocallyGrown-Delivery": "dlv_ab12_7",
        "X-LocallyGrown-Attempt": "3",
    }


def test_an_events_sequence_number_is_a_header_and_a_sample_has_none() -> None:
    numbered = replace(DELIVERY, sequence=1_700_000_000_000_000)
    headers = dict(signed_headers(numbered, SUBSCRIPTION, attempt=1, now=TIME))
    assert headers["X-LocallyGrown-Sequence"] == "1700000000000000"
    assert "X-LocallyGrown-Sequence" not in headers_of(SUBSCRIPTION)


def test_a_previous_secret_signs_too() -> None:
    headers = headers_of(replace(SUBSCRIPTION, previous_secret=PREVIOUS))
    assert headers["X-LocallyGrown-Signature"] == sign(BODY, SECRET)
    assert headers["X-LocallyGrown-Signature-Previous"] == sign(BODY, PREVIOUS.secret)
    assert "webhook-signature" not in headers


def test_the_standards_headers_stand_beside_ours() -> None:
    headers = headers_of(BY_THE_STANDARD, now=TIME + 0.9)
    assert headers["X-LocallyGrown-Signature"] == sign(BODY, STANDARD_SECRET)
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == str(TIME)
    assert headers["webhook-signature"] == STANDARD


def test_with_the_standard_a_receiver_verifies_by_either_secret() -> None:
    subscription = replace(BY_THE_STANDARD, previous_secret=SourcedSecret(OTHER, "env OLD"))
    headers = headers_of(subscription)
    for secret in (STANDARD_SECRET, OTHER):
        assert verify_standard(
            BODY,
            headers["webhook-id"],
            headers["webhook-timestamp"],
            headers["webhook-signature"],
            secret,
            now=TIME,
        )


def test_a_header_of_ones_own_stands_beside_ours() -> None:
    """GitHub's and Shopify's forms, made with `secret` alone."""
    mac = hmac_sha256(b"whisper", BODY)
    for scheme, expected in [
        (HeaderSignature("X-Hub-Signature-256", "sha256="), f"sha256={mac.hex()}"),
        (
            HeaderSignature("X-Shopify-Hmac-SHA256", encoding="base64"),
            base64.b64encode(mac).decode(),
        ),
        (HeaderSignature("Authorization", "HMAC "), f"HMAC {mac.hex()}"),
    ]:
        headers = headers_of(replace(SUBSCRIPTION, signature=scheme, previous_secret=PREVIOUS))
        assert headers[scheme.header] == expected
        assert headers["X-LocallyGrown-Signature"] == sign(BODY, SECRET)
        assert headers["X-LocallyGrown-Signature-Previous"] == sign(BODY, PREVIOUS.secret)
        assert "webhook-signature" not in headers


def test_githubs_own_example_of_a_header() -> None:
    """docs.github.com: Validating webhook deliveries, "Testing the webhook payload validation"."""
    scheme = HeaderSignature("X-Hub-Signature-256", "sha256=")
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret = Secret("It's a Secret to Everybody")
    assert sign_header(b"Hello, World!", scheme, secret) == signature
    assert verify_header(b"Hello, World!", f" {signature} ", scheme, secret)
    for wrong in (signature.upper(), signature[7:], "", "sha256=", signature + "0", "\ud800"):
        assert not verify_header(b"Hello, World!", wrong, scheme, secret)
    assert not verify_header(b"Hello, World?", signature, scheme, secret)
    assert not verify_header(b"Hello, World!", signature, scheme, Secret("another"))


def test_the_operators_headers_come_behind() -> None:
    own = (("X-Shop", "a"), ("Authorization", "Bearer b"))
    subscription = replace(BY_THE_STANDARD, headers=own)
    headers = signed_headers(DELIVERY, subscription, attempt=1, now=TIME)
    assert headers[-2:] == list(own)


def test_every_header_of_ours_is_reserved() -> None:
    subscription = replace(BY_THE_STANDARD, previous_secret=SourcedSecret(OTHER, "env OLD"))
    assert {name.lower() for name in headers_of(subscription)} <= RESERVED_HEADERS
    assert {"host", "content-length"} <= RESERVED_HEADERS
    assert {"content-type", "user-agent"}.isdisjoint(RESERVED_HEADERS)
    assert {name.lower() for name in RESERVED_HEADERS} == RESERVED_HEADERS


def test_a_retry_signs_the_same_bytes_the_same() -> None:
    first, second = (headers_of(SUBSCRIPTION, attempt=n, now=TIME + n) for n in (1, 2))
    assert first["X-LocallyGrown-Signature"] == second["X-LocallyGrown-Signature"]
    assert first["X-LocallyGrown-Attempt"] != second["X-LocallyGrown-Attempt"]


# The library that receivers in Python use


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_standards_library_verifies_what_is_sent(size: int, *, rotated: bool) -> None:
    secret = SourcedSecret(Secret(whsec(bytes(range(size)))), "text")
    now = time.time()
    subscription = replace(BY_THE_STANDARD, secret=secret)
    if rotated:
        new = SourcedSecret(Secret(whsec(b"n" * 32)), "text")
        subscription = replace(BY_THE_STANDARD, secret=new, previous_secret=secret)
    headers = headers_of(subscription, now=now)
    library = Webhook(secret.secret.reveal())
    assert library.verify(BODY, headers) == {"id": "evt_1"}
    with pytest.raises(WebhookVerificationError):
        library.verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(whsec(b"other" * 8)).verify(BODY, headers)


@pytest.mark.parametrize("text", ["hunter2-hunter2-hunter2!", "4f1c9a7d2be84d6fa5c0", "grüße"])
def test_the_standards_library_never_verifies_a_text_that_is_not_base64(text: str) -> None:
    """As relayd signed with such a text before it refused it: with its UTF-8 as the key."""
    digest = hmac_sha256(text.encode(), f"evt_1.{int(time.time())}.".encode() + BODY)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    with pytest.raises((WebhookVerificationError, ValueError)):
        Webhook(text).verify(BODY, headers)


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()
