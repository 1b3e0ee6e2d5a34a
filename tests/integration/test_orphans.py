"""As process 1 the daemon reaps what others leave: tried in a process namespace of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys, trio
from pathlib import Path
from relayd.orphans import reap_orphans

async def main():
    own = os.fork()
    if own == 0:
        os._exit(7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap_orphans, lambda: [own])
        await trio.sleep(0.1)
        for _ in range(5):
            parent = os.fork()
            if parent == 0:
                if os.fork() == 0:
                    os._exit(0)  # its parent is gone, or soon will be: an orphan
                os._exit(0)
        await trio.sleep(0.3)
        # Our own hides the others as long as nobody has looked after it.
        status = os.waitstatus_to_exitcode(os.waitpid(own, 0)[1])
        await trio.sleep(1.5)
        left = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        print(json.dumps({"pid": os.getpid(), "own": status, "left": left}))
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, unshare")
def test_process_1_reaps_orphans_and_leaves_its_own_to_who_waits_for_it(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"pid": 1, "own": 7, "left": []}


def test_any_other_process_leaves_them_alone() -> None:
    program = (
        "import trio; from relayd.orphans import reap_orphans; trio.run(reap_orphans, lambda: [])"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
