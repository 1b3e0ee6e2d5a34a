"""TLS contexts: one for each distinct setting, however many endpoints have it.

One that trusts the public authorities takes 20 ms and 1 MB. So a private one is made when the first
connection needs it, beside the loop and one at a time, and lives as long as a transport uses it.
"""

import os
import ssl
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

import certifi
import trio

from relayd.client_certificate import load_client_certificate
from relayd.config.problem import ConfigError, Problem
from relayd.core.outcome import Cause
from relayd.core.tls import Tls
from relayd.transport.errors import AttemptFailed, dial_failed

_HTTP: Final = ("http/1.1",)
"""What is offered as the protocol over TLS (ALPN)."""


def tls_context(protocols: Sequence[str] = _HTTP) -> ssl.SSLContext:
    """Return a client context, TLS 1.2 or newer, that trusts certifi's bundle and the system's.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` name more to trust. Raises ConfigError where they name what
    is not there: OpenSSL would pass over it in silence. It takes 20 ms and 1 MB: one serves the
    whole process.
    """
    context = _context(protocols)
    context.load_verify_locations(certifi.where())
    context.load_default_certs()
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            context.load_verify_locations(file)
        except ssl.SSLError:
            raise _not_there(file, "SSL_CERT_FILE", "there is no certificate in it") from None
        except OSError as error:
            raise _not_there(file, "SSL_CERT_FILE", error.strerror or "unreadable") from None
    for folder in filter(None, os.environ.get("SSL_CERT_DIR", "").split(os.pathsep)):
        if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
            raise _not_there(folder, "SSL_CERT_DIR", "no such directory")
    return context


class TlsContexts:
    """The contexts in use. `public` is for endpoints without a setting of their own.

    Making it raises ConfigError, as `tls_context` does.
    """

    def __init__(self) -> None:
        self.public = tls_context()
        self._mail: ssl.SSLContext | None = None
        self._making = trio.Lock()
        self._private: WeakValueDictionary[bytes, ssl.SSLContext] = WeakValueDictionary()

    async def mail(self) -> ssl.SSLContext:
        """Return the context for the mail server, without ALPN. Raises ConfigError.

        It is remembered. Cancelling does not wait for the disk.
        """
        async with self._making:
            if self._mail is None:
                self._mail = await trio.to_thread.run_sync(tls_context, (), abandon_on_cancel=True)
            return self._mail

    async def of(self, setting: Tls) -> ssl.SSLContext:
        """Return the context of a setting. Raises OSError, ssl.SSLError and ConfigError.

        Cancelling does not wait for the disk.
        """
        async with self._making:
            context = self._private.get(setting.digest)
            if context is None:
                context = self._private[setting.digest] = await trio.to_thread.run_sync(
                    _private_context, setting, abandon_on_cancel=True
                )
            return context


class EndpointTls:
    """The TLS of one endpoint: its context, made when it is first needed."""

    def __init__(self, contexts: TlsContexts, setting: Tls) -> None:
        self.setting = setting
        self._contexts = contexts
        self._context: ssl.SSLContext | None = None

    async def context(self, host: str) -> ssl.SSLContext:
        """Return the context for connections to `host`. Raises AttemptFailed (CONNECT or TLS)."""
        if self._context is None:
            try:
                self._context = await self._contexts.of(self.setting)
            except ssl.SSLError as error:
                words = f"the files of tls: ({self.setting}) could not be loaded: {error.reason}"
                raise AttemptFailed(Cause.TLS_FILES, words, host) from error
            except ConfigError as error:  # what SSL_CERT_FILE names has gone since the start
                raise AttemptFailed(Cause.TLS_FILES, str(error), host) from error
            except OSError as error:
                raise dial_failed(error, host) from error
        return self._context


def _context(protocols: Sequence[str] = _HTTP) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Verifies the certificate and the name.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def _private_context(setting: Tls) -> ssl.SSLContext:
    if setting.authorities is None:
        context = tls_context()
    else:
        context = _context()
        context.load_verify_locations(cadata=setting.authorities)
        # What the operator named is trusted, also where it is not the last of its chain.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if setting.client is not None:
        load_client_certificate(context, setting.client.chain, setting.client.key.key)
    return context


def _not_there(path: str, variable: str, message: str) -> ConfigError:
    hint = f"the environment variable {variable} names it: correct or unset it"
    return ConfigError([Problem(path, None, None, "", message, hint)])
