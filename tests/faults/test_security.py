"""Nothing is dialled that is not public, whatever the URL, the name or the environment says."""

import sys
from pathlib import Path

import pytest
import trio
from faults.injection import needs_root, needs_strace, nobody, reachable, traced
from faults.producing import producer, states
from processes import command, make_spool, running, write_config
from receivers import open_receiver

CORPUS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "127.0.0.1.",
    "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]", "[fec0::1]", "[fc00::1]",
    "[fe80::1]", "[ff02::1]", "224.0.0.1", "255.255.255.255", "192.88.99.1", "192.0.2.1",
    "198.18.0.1", "[::ffff:100.64.0.1]", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]",
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "[2001:db8::1]",
]  # fmt: skip

# What each name leads to by the system's own look-up, which only the dial can see.
NAMES = {
    "inside.example": "127.0.0.1",
    "inside-v6.example": "::1",
    "mapped.example": "::ffff:127.0.0.1",
    "metadata.example": "169.254.169.254",
    "private.example": "10.0.0.1",
}


async def test_addresses_that_are_not_public_are_refused_by_the_configuration(
    tmp_path: Path,
) -> None:
    config = write_config(
        tmp_path,
        {f"host_{number}": {"url": f"https://{host}/"} for number, host in enumerate(CORPUS)},
        allow_networks=None,
        spools=None,
    )
    refusals = await command("check", config=config, status=78)
    for number, host in enumerate(CORPUS):
        assert f"subscriptions.host_{number}.url" in refusals, host


def with_hosts(path: Path, hosts: dict[str, str]) -> list[str]:
    """Return the command under which the system's look-up knows these names."""
    path.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
    script = f'mount --bind {path} /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


@needs_root
@needs_strace
async def test_a_name_that_leads_inside_is_refused_at_the_dial(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    trace = tmp_path / "trace"
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path,
            {
                f"name_{number}": {
                    "url": f"https://{name}:{receiver.port}/hook", "retry": [], "rate_limit": "9/s"
                }
                for number, name in enumerate(NAMES)
            },
            allow_networks=None,
        )  # fmt: skip
        # HTTPS_PROXY and .netrc would lead to the receiver, too.
        (tmp_path / ".netrc").write_text("default login x password y\n")
        proxy = f"http://127.0.0.1:{receiver.port}"
        env = {"HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "HOME": str(tmp_path)}
        under = [*with_hosts(tmp_path / "hosts", NAMES), *traced(trace, calls=["connect"])]
        async with running(config, env=env, under=under) as relayd:
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_1"))["ok"]
            for number in range(len(NAMES)):
                with trio.fail_after(20):
                    line = await relayd.logged("attempt_failed", subscription=f"name_{number}")
                assert line["failure"] == "address", line
                assert "may not be dialled" in line["detail"]
        assert receiver.accepted == 0
    connected = trace.read_text()
    assert f"htons({receiver.port})" not in connected, "the kernel saw no dial"
    assert set(states(tmp_path / "queue.db").values()) == {"exhausted"}


async def test_an_allowed_network_would_have_been_dialled(tmp_path: Path) -> None:
    # The control: the same receiver, and a relayd that may dial it.
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "9/s"}})
        async with running(config, env={"HTTP_PROXY": "http://127.0.0.1:9"}) as relayd:
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_1"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded")
        assert receiver.accepted == 1


@pytest.mark.parametrize("text", ["line\nlevel=critical", "\x1b[2J\x1b]0;owned\x07", "\u202e\x9b31m"])  # fmt: skip
async def test_what_producers_write_cannot_forge_lines_of_the_log(
    tmp_path: Path, text: str
) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(
        tmp_path,
        {"books": {"url": "http://127.0.0.1:9/hook"}},
        log={"level": "debug", "format": "text"},
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "relayd", "run", "--config", str(config)],
            stdout=file,
            stderr=file,
            cwd=tmp_path,
        )
        try:
            with trio.fail_after(20):
                while b"started" not in log.read_bytes():
                    await trio.sleep(0.05)
            async with producer(tmp_path) as each:
                refused = await each.hand_over(f"evt_{text}")
                assert not refused["ok"]
                refused = await each.hand_over("evt_1", **{text: 1})
            await trio.sleep(0.2)
        finally:
            process.terminate()
            await process.wait()
    written = log.read_text()
    assert not any(char in written for char in text if not char.isprintable() and char != "\n")
    assert not any(line.startswith("level=critical") for line in written.splitlines())


@needs_root
@pytest.mark.parametrize(("mode", "let_in"), [("0660", False), ("0666", True)])
async def test_a_peer_outside_the_sockets_group_is_kept_out(
    tmp_path: Path, mode: str, let_in: bool
) -> None:
    make_spool(tmp_path / "spool.db")
    reachable(tmp_path)
    config = write_config(
        tmp_path,
        {"books": {"url": "http://127.0.0.1:9/hook"}},
        socket={"path": "relayd.sock", "mode": mode},
    )
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    async with running(config):
        for name, may in (("relayd.sock", let_in), ("queue.db.control", False)):
            path = tmp_path / name
            assert path.is_socket()
            peer = await trio.run_process(
                [*nobody(), sys.executable, "-c", program, str(path)],
                check=False,
                capture_stderr=True,
            )
            assert (peer.returncode == 0) == may, peer.stderr
            assert may or b"PermissionError" in peer.stderr
        assert (tmp_path / "queue.db").stat().st_mode & 0o777 == 0o600
