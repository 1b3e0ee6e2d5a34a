"""From when until when a certificate is valid, and what is not a certificate."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.certificate import Validity, validity

BEGINS = datetime(2024, 2, 29, 12, 0, 1, tzinfo=UTC)
DER = ssl.PEM_cert_to_DER_cert(
    trustme.CA()
    .issue_cert("shop.example", not_before=BEGINS, not_after=BEGINS + timedelta(days=90))
    .cert_chain_pems[0]
    .bytes()
    .decode()
)


def test_both_ends() -> None:
    begins = BEGINS.timestamp()
    assert validity(DER) == Validity(begins, begins + 90 * 86_400)


def test_years_beyond_2049_and_before_1950() -> None:
    """They are written with four digits, and 1950 to 2049 with two (RFC 5280, 4.1.2.5)."""
    for ends in (
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2050, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ):
        issued = trustme.CA().issue_cert("a.example", not_before=BEGINS, not_after=ends)
        pem = issued.cert_chain_pems[0].bytes().decode()
        assert validity(ssl.PEM_cert_to_DER_cert(pem)).ends == ends.timestamp()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 10, 60, 120])
def test_a_part_of_a_certificate_is_none(length: int) -> None:
    with pytest.raises(ValueError, match="certificate"):
        validity(DER[:length])


@given(st.binary(max_size=300))
def test_anything_else_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        validity(data)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_that(position: int, byte: int) -> None:
    changed = DER[:position] + bytes([byte]) + DER[position + 1 :]
    try:
        found = validity(changed)
    except ValueError:
        return
    assert isinstance(found, Validity)
