"""Why TLS failed, in words."""

import ssl

import pytest

from relayd.core.outcome import Failure
from relayd.transport.errors import tls_failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[SSL] unknown error (_ssl.c:1006)", "TLS failed: unknown error"),
        # Python 3.14 adds OpenSSL's number.
        ("[SSL] unknown error (0xa0004e7) (_ssl.c:1130)", "TLS failed: unknown error"),
        (
            "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)",
            "the receiver does not speak HTTP/1.1 over TLS",
        ),
        ("out of memory", "TLS failed: no reason given"),
    ],
)
def test_a_reason_without_a_name_is_found_in_openssls_words(text: str, words: str) -> None:
    error = ssl.SSLError(1, text)
    # As OpenSSL's own errors have it for what Python has no name for.
    vars(error)["reason"] = None
    failed = tls_failed(error, "shop.example")
    assert (failed.detail, failed.why, failed.subject) == (words, Failure.TLS, "shop.example")
