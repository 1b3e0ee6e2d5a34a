"""The sockets on which the web process listens."""

import socket
from pathlib import Path
from typing import Final

from relayd.core.web_access import Listen
from relayd.unix_socket.listener import SocketPathError, bound_unix

BACKLOG: Final = 1024
MODE: Final = 0o660
"""Of a Unix socket: a proxy in relayd's group connects there."""


def open_socket(listen: Listen) -> socket.socket:
    """Listen there. Raises `SocketPathError`, which says why that cannot be."""
    if listen.path:
        return bound_unix(Path(listen.path), MODE)
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((listen.host, listen.port))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise SocketPathError(f"cannot listen at {listen}: {error.strerror}") from error
    return opened
