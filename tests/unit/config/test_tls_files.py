"""The files of `tls:`: what they must be, what is wrong with each, and that each is read once."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from certificates import authority_file, client_files, encrypted, private

from relayd.config import reading, tls_files
from relayd.config.exposure import Producers
from relayd.config.tls_files import MAX_BYTES, TlsFiles, TlsReader
from relayd.core.tls import Tls

AUTHORITY = trustme.CA()


def read(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> TlsFiles:
    return TlsReader(Producers()).read(ca, certificate, key)


def setting(found: TlsFiles) -> Tls:
    assert found.errors == []
    assert found.tls is not None
    return found.tls


def error(found: TlsFiles, key: str) -> str:
    """Return the one error, which is about this key, with its hint."""
    assert found.tls is None
    ((where, problem),) = found.errors
    assert where == key
    return f"{problem.message} ({problem.hint})"


def test_an_authority(tmp_path: Path) -> None:
    path = authority_file(tmp_path, AUTHORITY)
    found = setting(read(path))
    assert found.client is None
    assert str(found) == f"ca {path}"


def test_a_client_certificate(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    found = setting(read(None, certificate, key))
    assert found.authorities is None
    assert found.client is not None
    assert found.client.chain == certificate.read_bytes()
    assert str(found) == f"certificate {certificate}, key {key}"


def test_one_file_with_certificate_and_key(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    both = private(tmp_path / "both.pem", certificate.read_bytes() + key.read_bytes())
    assert setting(read(None, both, both)).client is not None


def test_nothing_of_the_key_is_shown(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    found = setting(read(None, certificate, key))
    lines = key.read_text().splitlines()[1:-1]
    shown = repr(found) + str(found) + repr(found.client)
    assert not [line for line in lines if line in shown]


def test_two_are_equal_when_the_contents_are(tmp_path: Path) -> None:
    path = authority_file(tmp_path, AUTHORITY)
    copy = authority_file(tmp_path, AUTHORITY, "copy.pem")
    assert setting(read(path)) == setting(read(copy))
    assert setting(read(path)) != setting(read(authority_file(tmp_path, trustme.CA(), "b.pem")))
    certificate, key = client_files(tmp_path, AUTHORITY)
    assert setting(read(path)) != setting(read(path, certificate, key))
    assert setting(read(None, certificate, key)) != setting(read(path, certificate, key))


def test_the_same_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Path] = []
    original = reading.read_file

    def read_file(path: Path, most: int) -> object:
        counted.append(path)
        return original(path, most)

    monkeypatch.setattr(tls_files, "read_file", read_file)
    path = authority_file(tmp_path, AUTHORITY)
    reader = TlsReader(Producers())
    assert reader.read(path, None, None) is reader.read(path, None, None)
    assert counted == [path]


def test_a_bundle_with_words_around_it(tmp_path: Path) -> None:
    path = tmp_path / "bundle.pem"
    others = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    path.write_bytes(b"# Unser Verzeichnis: \xc3\xbc\n" + b"\nsubject=x\n".join(others) + b"\n#end")
    assert setting(read(path)).authorities is not None


def test_what_is_no_file_of_certificates(tmp_path: Path) -> None:
    for name, content, said in [
        ("empty", b"", "PEM is text that begins with -----BEGIN"),
        ("words", b"hello", "holds no certificate in PEM"),
        ("der", b"\x30\x82\x01\x00", "openssl x509 -inform der"),
        ("cut", AUTHORITY.cert_pem.bytes()[:200], "holds no certificate in PEM"),
        ("not base64", b"-----BEGIN CERTIFICATE-----\n????\n-----END", "no certificate in PEM"),
        ("no der", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END", "no certificate in PEM"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        assert said in error(read(path), "ca")
        _, key = client_files(tmp_path, AUTHORITY)
        assert said in error(read(None, path, key), "certificate")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    large = private(tmp_path / "large", b"x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "pipe")
    for path, said in [
        (tmp_path / "nowhere", f"file {tmp_path}/nowhere does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "pipe", "is not a file"),
        (large, "is larger than 1024 KiB"),
    ]:
        assert said in error(read(path), "ca")
        assert said in error(read(None, path, key), "certificate")
        assert said in error(read(None, certificate, path), "key")


def test_one_without_the_other(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    assert "needs `key:` beside it" in error(read(None, certificate), "certificate")
    assert "needs `certificate:` beside it" in error(read(None, None, key), "key")


@pytest.mark.parametrize("other", list(trustme.KeyType))
def test_a_key_of_another_certificate(tmp_path: Path, other: trustme.KeyType) -> None:
    certificate, _ = client_files(tmp_path, AUTHORITY)
    _, key = client_files(tmp_path, AUTHORITY, "other", key_type=other)
    said = error(read(None, certificate, key), "key")
    assert f"file {key} is not the private key of {certificate}" in said


def test_a_chain_before_its_certificate(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    swapped = tmp_path / "swapped.crt"
    swapped.write_bytes(AUTHORITY.cert_pem.bytes() + certificate.read_bytes())
    said = error(read(None, swapped, key), "key")
    assert "where the chain is in the file, the certificate comes first" in said


@pytest.mark.parametrize("traditional", [True, False])
def test_an_encrypted_key(tmp_path: Path, traditional: bool) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    locked = private(tmp_path / "locked.key", encrypted(key, b"hunter2", traditional=traditional))
    said = error(read(None, certificate, locked), "key")
    assert "is encrypted with a passphrase" in said
    assert f"`openssl pkey -in {locked} -out NEW` writes it without" in said


def test_what_is_no_key(tmp_path: Path) -> None:
    certificate, _ = client_files(tmp_path, AUTHORITY)
    for content, said in [
        (b"", "holds no private key in PEM"),
        (certificate.read_bytes(), "holds no private key in PEM"),
        (b"\x30\x82\x01\x00", "openssl pkcs12"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be used"),
    ]:
        path = private(tmp_path / "some.key", content)
        assert said in error(read(None, certificate, path), "key")


def test_who_may_read_and_write_the_files(tmp_path: Path) -> None:
    certificate, key = client_files(tmp_path, AUTHORITY)
    ca = authority_file(tmp_path, AUTHORITY)
    for path in (ca, certificate):
        path.chmod(0o444)
    assert setting(read(ca, certificate, key)) is not None, "certificates are public"
    key.chmod(0o644)
    assert "may be read by everybody on this machine" in error(read(ca, certificate, key), "key")
    key.chmod(0o600)
    ca.chmod(0o666)
    said = error(read(ca, certificate, key), "ca")
    assert "may be written by everybody on this machine" in said
    assert f"chmod o-w {ca}" in said
    ca.chmod(0o444)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    both.chmod(0o644)
    assert "may be read by everybody" in read(None, both, both).errors[0][1].message


def test_a_certificate_that_expires_is_no_reason_not_to_start(tmp_path: Path) -> None:
    for days, said in [(-1, "expired at"), (3, "expires at"), (13, "expires at"), (15, None)]:
        certificate, key = client_files(
            tmp_path, AUTHORITY, f"c{days}", expires_in=timedelta(days=days, minutes=1)
        )
        found = read(None, certificate, key)
        assert found.tls is not None
        assert len(found.warnings) == (said is not None)
        for where, warning in found.warnings:
            assert where == "certificate"
            assert f"file {certificate} {said} 20" in warning.message
            assert "relayd reload" in warning.hint


def test_of_a_bundle_one_valid_authority_is_enough(tmp_path: Path) -> None:
    expired, _ = client_files(tmp_path, AUTHORITY, "old", expires_in=timedelta(days=-1))
    valid, _ = client_files(tmp_path, AUTHORITY, "new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(expired.read_bytes())
    assert [where for where, _ in read(bundle).warnings] == ["ca"]
    bundle.write_bytes(expired.read_bytes() + valid.read_bytes())
    assert read(bundle).warnings == []


def test_each_file_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    found = read(nowhere, nowhere, nowhere)
    assert [key for key, _ in found.errors] == ["ca", "certificate", "key"]
