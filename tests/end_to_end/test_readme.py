"""The README's programs, run as they stand there: its producers, and both of its receivers."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import yaml
from processes import command, run_command, running

README = (Path(__file__).parents[2] / "README.md").read_text()
SNIPPETS = dict(re.findall(r"<!-- snippet: (\S+) -->\n```\w+\n(.*?)```", README, flags=re.DOTALL))
INTERPRETERS = {
    ".py": sys.executable,
    ".js": "node",
    ".php": "php",
    ".rb": "ruby",
    ".sh": "sh",
}
PRODUCERS = sorted(name for name in SNIPPETS if name.startswith("producer"))
RECEIVERS = sorted(name for name in SNIPPETS if name.startswith("receiver"))


def interpreter(name: str) -> str:
    program = INTERPRETERS[Path(name).suffix]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return program


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def first_configuration(folder: Path) -> tuple[Path, str, int]:
    """Return the configuration that `init` wrote, moved to a free port, its secret, and the port."""
    path = folder / "config.yaml"
    port = unused_port()
    path.write_text(path.read_text().replace("8080", str(port)))
    subscriptions = yaml.safe_load(path.read_text())["subscriptions"]
    return path, subscriptions["first"]["secret"], port


def test_the_readme_has_all_of_its_programs() -> None:
    suffixes = {Path(name).suffix for name in PRODUCERS}
    assert suffixes == {".py", ".js", ".php", ".rb", ".sh"}
    assert RECEIVERS == ["receiver.js", "receiver.py"]


@pytest.mark.parametrize("receiver", RECEIVERS)
async def test_the_quick_start_with_a_receiver_from_the_readme(
    tmp_path: Path, receiver: str
) -> None:
    await command("init", str(tmp_path))
    config, secret, port = first_configuration(tmp_path)
    code = SNIPPETS[receiver].replace("8080", str(port))
    script = tmp_path / receiver
    script.write_text(code)
    process = await trio.lowlevel.open_process(
        [interpreter(receiver), str(script)],
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "WEBHOOK_SECRET": secret},
    )
    try:
        await accepts_connections(port)
        async with running(config) as relayd:
            await command("emit", "order.created", "--sample", config=config)
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", status=204)
            assert process.stdout is not None
            printed = await process.stdout.receive_some(1000)
            assert printed.startswith(b"order.created")
            listed = await command("deliveries", config=config)
            assert "delivered" in listed
    finally:
        process.kill()
        await process.wait()


async def accepts_connections(port: int) -> None:
    with trio.fail_after(20):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return


@pytest.mark.parametrize("producer", PRODUCERS)
async def test_a_producer_from_the_readme(tmp_path: Path, producer: str) -> None:
    await command("init", str(tmp_path))
    config, _, _ = first_configuration(tmp_path)
    script = tmp_path / producer
    script.write_text(SNIPPETS[producer])
    expected = len(re.findall(r"order_4\d\d", SNIPPETS[producer]))
    # The shell's `relayd` is the one under test.
    relayd_folder = Path(sys.executable).parent
    async with running(config) as relayd:
        with trio.fail_after(30):
            await trio.run_process(
                [interpreter(producer), str(script)],
                cwd=tmp_path,
                env={"PATH": f"{relayd_folder}:/usr/local/bin:/usr/bin:/bin"},
                capture_stdout=True,
            )
            while len(relayd.events("event_accepted")) < expected:
                await trio.sleep(0.01)
    assert {line["event_type"] for line in relayd.events("event_accepted")} == {"order.created"}


async def test_every_command_in_the_readme_exists() -> None:
    spans = re.findall(r"`(relayd [^`\n]+)`", README)
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + spans
    named = {line.split()[1] for line in lines if line.startswith("relayd ")}
    assert named >= {"init", "run", "check", "emit", "reload", "deliveries"}
    completed = await run_command("--help")
    known = set(re.findall(r"^  ([a-z]+)  ", completed.stdout.decode(), flags=re.MULTILINE))
    assert named - known == set(), "the README names commands that do not exist"
