"""The container's image: its recipe, as far as a linter and the suite can tell, and its health check."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from processes import write_config
from receivers import unused_port
from web_process import TOKEN, serving

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "packaging" / "Containerfile"


async def health(*arguments: str) -> tuple[int, str]:
    """Run the health check with this Python, and return its status and what it printed."""
    done = await trio.run_process(
        [sys.executable, ROOT / "packaging" / "container-health", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("listen", ["0.0.0.0:{port}", "[::1]:{port}", "unix:web.sock"])
async def test_the_health_check_says_which_process_does_not_answer(
    tmp_path: Path, listen: str
) -> None:
    queue = str(tmp_path / "queue.db")
    status, said = await health(queue)
    assert (status, said.partition(":")[0]) == (1, "no answer")
    assert (await health("web", queue))[0] == 1
    async with serving(tmp_path, listen=listen.format(port=unused_port()), token=TOKEN) as web:
        status, said = await health(queue)
        assert (status, said.split()[0]) == (0, "relayd")
        assert await health("web", queue) == (0, "the web process answers 200\n")
        web.relayd.process.kill()
        await web.relayd.wait()
        await trio.sleep(1.1)  # what was found holds for a second
        assert (await health(queue))[0] == 1
        assert await health("web", queue) == (0, "the web process answers 503\n")
        web.process.process.kill()
        await web.process.wait()
        assert (await health("web", queue))[0] == 1


async def test_a_daemon_that_hangs_is_not_healthy(tmp_path: Path) -> None:
    write_config(tmp_path)
    async with serving(tmp_path) as web:
        os.kill(web.relayd.process.pid, 19)  # SIGSTOP
        try:
            with trio.fail_after(20):
                assert (await health(str(tmp_path / "queue.db")))[0] == 1
        finally:
            os.kill(web.relayd.process.pid, 18)  # SIGCONT


def test_the_recipe_installs_the_lock_s_versions_for_relayd_s_user() -> None:
    printed = subprocess.run(
        [
            sys.executable,
            ROOT / "packaging" / "runtime_requirements.py",
            ROOT / "pyproject.toml",
            ROOT / "requirements-dev.lock",
            "templates",
            "web",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    locked = (ROOT / "packaging" / "requirements.lock").read_text()
    assert locked.partition("\n")[2] == printed, "`make constraints` writes it"
    recipe = RECIPE.read_text()
    assert "--require-hashes --only-binary :all: -r requirements.lock" in recipe
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", recipe, re.MULTILINE)
    assert all((ROOT / each).exists() for line in copied for each in line.split())
    last = recipe.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_accepts_the_recipe() -> None:
    subprocess.run(["hadolint", RECIPE], check=True, timeout=60)
