"""Certificates for tests, as files: authorities, and what they issue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

NOW = datetime.now(UTC)


def authority_file(folder: Path, authority: trustme.CA, name: str = "ca.pem") -> Path:
    """Write an authority's certificate, as one names it under `tls: {ca: …}`."""
    path = folder / name
    path.write_bytes(authority.cert_pem.bytes())
    return path


def client_files(
    folder: Path,
    authority: trustme.CA,
    name: str = "client",
    *,
    expires_in: timedelta = timedelta(days=365),
    key_type: trustme.KeyType = trustme.KeyType.ECDSA,
) -> tuple[Path, Path]:
    """Write a client certificate and its key; return their paths. The key is its owner's alone."""
    issued = authority.issue_cert(
        f"{name}.market.example",
        not_before=NOW - timedelta(days=3650),
        not_after=NOW + expires_in,
        key_type=key_type,
    )
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    private(key, issued.private_key_pem.bytes())
    return certificate, key


def private(path: Path, content: bytes) -> Path:
    """Write a file that its owner alone may read."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(content)
    return path


def encrypted(key: Path, passphrase: bytes, *, traditional: bool = False) -> bytes:
    """Return a key's PEM under a passphrase, in PKCS #8 or in OpenSSL's older form."""
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    loaded = load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(Encoding.PEM, form, BestAvailableEncryption(passphrase))
