"""The files of `tls:`: a private authority, a client certificate and its key, read and checked.

What the daemon uses later is what was checked here: the contents, not the files. Each set of files
is read once, however many subscriptions name it.
"""

import re
import ssl
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from relayd.client_certificate import load_client_certificate
from relayd.config.exposure import Producers, exposure
from relayd.config.reading import Unreadable, read_file
from relayd.config.secrets import NoSecret
from relayd.core.certificate import Validity, validity
from relayd.core.secret import Secret
from relayd.core.tls import ClientCertificate, Tls

MAX_BYTES: Final = 1024 * 1024
"""A system's bundle of all public authorities has 220 KB."""

SOON_DAYS: Final = 14
"""So long before a certificate expires, a warning says so."""

Key = Literal["ca", "certificate", "key"]

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_ENCRYPTED = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE
)
_DER: Final = b"\x30"


@dataclass(slots=True)
class TlsFiles:
    """What came of one set of files. `tls` may be used only where there are no `errors`."""

    tls: Tls | None = None
    errors: list[tuple[Key, NoSecret]] = field(default_factory=list)
    warnings: list[tuple[Key, NoSecret]] = field(default_factory=list)


class TlsReader:
    """Reads the files of `tls:`. Blocks on the disk."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._read: dict[tuple[Path | None, Path | None, Path | None], TlsFiles] = {}

    def read(self, ca: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles:
        """Return what these files hold, with all that is wrong with them."""
        files = (ca, certificate, key)
        if files not in self._read:
            self._read[files] = self._result(*files)
        return self._read[files]

    def _result(self, ca: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles:
        found = TlsFiles()
        authorities = None if ca is None else self._authorities(ca, found)
        client = None
        if certificate is not None and key is not None:
            client = self._client(certificate, key, found)
        elif certificate is not None or key is not None:
            here: Key = "key" if certificate is None else "certificate"
            missing = "certificate" if certificate is None else "key"
            found.errors.append(
                (
                    here,
                    NoSecret(
                        f"needs `{missing}:` beside it", "both may name one file that holds the two"
                    ),
                )
            )
        if not found.errors:
            found.tls = Tls(
                _digest(authorities, client),
                ca=_text(ca),
                certificate=_text(certificate),
                key=_text(key),
                authorities=authorities,
                client=client,
            )
        return found

    def _authorities(self, path: Path, found: TlsFiles) -> bytes | None:
        raw = self._content("ca", path, found, private=False)
        if raw is None:
            return None
        try:
            certificates = list(_certificates(raw))
            validities = [validity(each) for each in certificates]
            if certificates:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
                    cadata=b"".join(certificates)
                )
        except (ValueError, ssl.SSLError):
            certificates = []
        if not certificates:
            found.errors.append(("ca", _no_certificate(path, raw)))
            return None
        # Of a bundle, some may have expired: one that is valid is enough.
        longest = max(validities, key=lambda each: each.ends)
        found.warnings += [("ca", each) for each in _doubts(path, longest)]
        return b"".join(certificates)

    def _client(self, path: Path, key_path: Path, found: TlsFiles) -> ClientCertificate | None:
        chain = self._content("certificate", path, found, private=path == key_path)
        key = self._content("key", key_path, found, private=True)
        if chain is not None:
            self._check_certificate(path, chain, found)
        if key is not None:
            self._check_key(key_path, key, found)
        if chain is None or key is None or found.errors:
            return None
        try:
            load_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), chain, key)
        except ssl.SSLError as error:
            found.errors.append(_unloadable(path, key_path, error))
            return None
        except OSError as error:
            found.errors.append(
                ("key", NoSecret(f"file {key_path} could not be checked: {error.strerror}"))
            )
            return None
        return ClientCertificate(chain, Secret(key.decode("utf-8", "surrogateescape")))

    def _check_certificate(self, path: Path, raw: bytes, found: TlsFiles) -> None:
        try:
            first = next(_certificates(raw), None)
            valid = None if first is None else validity(first)
        except ValueError:
            valid = None
        if valid is None:
            found.errors.append(("certificate", _no_certificate(path, raw)))
        else:
            found.warnings += [("certificate", each) for each in _doubts(path, valid)]

    def _check_key(self, path: Path, raw: bytes, found: TlsFiles) -> None:
        if _ENCRYPTED.search(raw):
            found.errors.append(
                (
                    "key",
                    NoSecret(
                        f"file {path} is encrypted with a passphrase, which relayd cannot ask for",
                        f"`openssl pkey -in {path} -out NEW` writes it without; chmod 0400 NEW",
                    ),
                )
            )
        elif not _PRIVATE_KEY.search(raw):
            found.errors.append(
                (
                    "key",
                    NoSecret(f"file {path} holds no private key in PEM", _conversion(raw, path)),
                )
            )

    def _content(self, key: Key, path: Path, found: TlsFiles, *, private: bool) -> bytes | None:
        content = read_file(path, MAX_BYTES)
        if isinstance(content, Unreadable):
            hint = "" if content.missing else "it must be a file that relayd's user may read"
            found.errors.append((key, NoSecret(f"file {path} {content.reason}", hint)))
            return None
        exposed = exposure(path, content, self._producers, public=not private)
        if exposed is not None:
            reason, command = exposed
            found.errors.append((key, NoSecret(f"file {path} {reason}", command)))
            return None
        if len(content.raw) > MAX_BYTES:
            too_large = f"file {path} is larger than {MAX_BYTES // 1024} KiB"
            found.errors.append((key, NoSecret(too_large)))
            return None
        return content.raw


def _digest(authorities: bytes | None, client: ClientCertificate | None) -> bytes:
    parts = [authorities]
    if client is not None:
        parts += [client.chain, client.key.key]
    digest = sha256()
    for part in parts:
        digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return digest.digest()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _certificates(raw: bytes) -> Iterator[bytes]:
    """Yield the certificates of a PEM file, in DER. Raises ValueError for what is not base64."""
    for match in _CERTIFICATE.finditer(raw):
        yield b64decode(b"".join(match[1].split()), validate=True)


def _no_certificate(path: Path, raw: bytes) -> NoSecret:
    return NoSecret(f"file {path} holds no certificate in PEM", _conversion(raw, path))


def _conversion(raw: bytes, path: Path) -> str:
    if raw[:1] == _DER:
        return (
            f"it looks like DER or PKCS #12: `openssl x509 -inform der -in {path}` or"
            f" `openssl pkcs12 -in {path} -nodes` prints PEM"
        )
    return "PEM is text that begins with -----BEGIN"


def _doubts(path: Path, valid: Validity) -> Iterator[NoSecret]:
    # Not an error: a restart must not fail for one receiver whose certificate ran out overnight.
    now = time.time()
    if valid.ends <= now:
        yield NoSecret(
            f"file {path} expired at {_day(valid.ends)}: attempts fail until it is renewed",
            "put the new one in its place, then `relayd reload`",
        )
    elif valid.begins > now:
        yield NoSecret(f"file {path} is not valid before {_day(valid.begins)}: attempts fail")
    elif valid.ends - now < SOON_DAYS * 86_400:
        yield NoSecret(
            f"file {path} expires at {_day(valid.ends)}",
            "put the new one in its place, then `relayd reload`",
        )


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _unloadable(path: Path, key_path: Path, error: ssl.SSLError) -> tuple[Key, NoSecret]:
    reason = error.reason or ""
    # The second is said where the two are of different kinds, RSA and EC.
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
        return "key", NoSecret(
            f"file {key_path} is not the private key of {path}",
            "the two must belong together; where the chain is in the file, the certificate comes first",
        )
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return "certificate", NoSecret(f"file {path} is too weak for TLS today", "renew it")
    return "key", NoSecret(
        f"file {key_path} or {path} cannot be used", "`openssl pkey -check` and `openssl x509` look"
    )
