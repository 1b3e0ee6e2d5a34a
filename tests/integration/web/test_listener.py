"""The web process's Unix socket: who may connect, and what stands at its path."""

import socket
from pathlib import Path

import pytest

from relayd.core.web_access import Listen
from relayd.unix_socket.listener import SocketPathError
from relayd.web.listener import open_socket


def connected(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_proxy_in_relayds_group_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with open_socket(Listen(path=str(path))):
        assert path.stat().st_mode & 0o777 == 0o660
        assert connected(path)


def test_a_second_process_takes_nothing_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with open_socket(Listen(path=str(path))):
        with pytest.raises(SocketPathError, match="another program listens there"):
            open_socket(Listen(path=str(path)))
        assert connected(path)


def test_what_a_process_left_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    open_socket(Listen(path=str(path))).close()
    assert path.exists(), "nothing takes it away"
    assert not connected(path)
    with open_socket(Listen(path=str(path))):
        assert connected(path)
    path.unlink()
    path.write_text("somebody's")
    with pytest.raises(SocketPathError, match="not a socket"):
        open_socket(Listen(path=str(path)))
    assert path.read_text() == "somebody's"
