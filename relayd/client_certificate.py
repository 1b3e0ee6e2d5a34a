"""Gives a TLS context a client certificate that was read already.

OpenSSL, as Python offers it, reads one from files alone: so these are files in memory, that have no
name and that only this process sees. What is on disk may have changed since it was checked.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


def load_client_certificate(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Load a certificate with its chain, and its private key, both PEM.

    Raises ssl.SSLError where they are not that or do not belong together, and OSError where there
    is no file descriptor left. Never asks for a passphrase: an encrypted key is an ssl.SSLError.
    """
    with _file_in_memory(chain) as certificate, _file_in_memory(key) as private:
        context.load_cert_chain(certificate, private, password=lambda: "")


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """Make a file that is gone when the block is left; yield a path to it."""
    with os.fdopen(os.memfd_create("relayd-tls", os.MFD_CLOEXEC), "wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        yield f"/proc/self/fd/{file.fileno()}"
