"""How faults are put into a running relayd: strace, small disks, a false clock, few resources.

Each way says in a skip's reason what it lacks where it cannot be used. `under=` of `processes`
takes what `traced` and `limited` return; both keep the process number of relayd itself.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@cache
def _lacks_strace() -> str:
    if shutil.which("strace") is None:
        return "strace is missing (apt install strace)"
    # Containers may forbid ptrace.
    probe = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    return "" if probe.returncode == 0 else "strace may not trace here"


@cache
def _lacks_mounts() -> str:
    if os.geteuid() != 0:
        return "only root can mount a file system"
    # Containers may forbid it to root, too.
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "root may not mount a file system here"


needs_strace = pytest.mark.skipif(bool(_lacks_strace()), reason=_lacks_strace())
needs_root = pytest.mark.skipif(bool(_lacks_mounts()), reason=_lacks_mounts())
needs_faketime = pytest.mark.skipif(
    _FAKETIME is None, reason="libfaketime is missing (apt install faketime)"
)
needs_prlimit = pytest.mark.skipif(
    shutil.which("prlimit") is None, reason="prlimit is missing (apt install util-linux)"
)
# Later versions delete nothing but a super-journal: by its name, and if it names the journal.
SQLITE_DELETES_ANY_FILE = sqlite3.sqlite_version_info < (3, 53, 3)
needs_deleting_sqlite = pytest.mark.skipif(
    not SQLITE_DELETES_ANY_FILE, reason="this SQLite deletes no file that is not a super-journal"
)
long_form = pytest.mark.skipif(
    not os.environ.get("RELAYD_TORTURE"), reason="takes long: `make torture` runs it"
)


def traced(output: Path, *options: str, calls: Sequence[str]) -> list[str]:
    """Return the command that records these system calls, with the files that they are about.

    strace runs beside relayd (-D), so that signals and the exit status are relayd's own.
    """
    chosen = ",".join(calls)
    quiet = ["-D", "-f", "--seccomp-bpf", "-y", "-s", "70000", "-o", str(output)]
    return ["strace", *quiet, "-e", f"trace={chosen}", "-e", "signal=none", *options]


def killed_at(call: str, count: int) -> list[str]:
    """Return the command under which relayd gets SIGKILL as one thread begins its `count`th call."""
    # With --seccomp-bpf, strace 6.1 injects no signal beyond the first call.
    return ["strace", "-D", "-f", "-o", os.devnull, "-e", "signal=none",
            "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}"]  # fmt: skip


def failing_at(call: str, error: str, when: str) -> list[str]:
    """Return the command under which a thread's calls fail with `error` from `when` on (as `3+`)."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "signal=none",
            "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]  # fmt: skip


def limited(**limits: int) -> list[str]:
    """Return the command that sets resource limits, such as `nofile=40`."""
    return ["prlimit", *(f"--{name}={value}" for name, value in limits.items())]


_BLOCK = 4096

_CGROUPS = (
    # Version 1, then 2: the folder, and the file that takes the limit.
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


@contextmanager
def little_memory(pid: int, limit: int) -> Iterator[None]:
    """Let a process have no more than `limit` bytes beyond what it has. Skips where it cannot."""
    for folder, name in _CGROUPS:
        group = folder / f"relayd_test_{pid}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / name).exists():
                continue
            (group / name).write_text(str(limit))
            (group / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            while True:
                try:
                    group.rmdir()
                    break
                except OSError:
                    # Until the kernel has put the process away.
                    time.sleep(0.02)
        return
    pytest.skip("no memory cgroup can be made here")


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of this size, such as `8m`, at `path`."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder read-only over itself."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def nobody() -> list[str]:
    """Return the command that runs something as the user nobody. Skips where it cannot."""
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    probe = subprocess.run([*command, sys.executable, "-c", ""], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("nobody may not run this Python")
    return command


def reachable(folder: Path) -> None:
    """Let every user into a test's folder, and into those above it."""
    while folder != folder.parent and folder.owner() == "root" and folder != Path("/tmp"):
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill a file system but for `leave` bytes, and return the file that does it.

    Others may write at the same time.
    """
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        free = os.statvfs(folder)
        size = max(0, free.f_bavail * free.f_frsize - leave)
        while size >= _BLOCK:
            try:
                os.posix_fallocate(file.fileno(), file.tell(), size)
                file.seek(0, os.SEEK_END)
            except OSError:
                size //= 2
            else:
                break
        while not leave:  # what is left below one block
            file.write(bytes(_BLOCK))
    return filler


def can_trace() -> bool:
    """Whether strace can be used here."""
    return not _lacks_strace()


def can_mount() -> bool:
    """Whether a file system can be mounted here."""
    return not _lacks_mounts()


@dataclass(slots=True)
class FalseClock:
    """A wall clock that a test sets while relayd runs; the monotonic clock stays true."""

    file: Path

    def set(self, offset_s: float) -> None:
        """Let relayd's wall clock be off by so much from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset_s:+.1f}\n")
        new.rename(self.file)

    @property
    def env(self) -> dict[str, str]:
        """The environment for relayd."""
        return {
            "LD_PRELOAD": str(_FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            # Without it, the file is read at each reading of a clock.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def false_clock(folder: Path, offset_s: float = 0.0) -> FalseClock:
    """Return a clock that is off by `offset_s`."""
    clock = FalseClock(folder / "faketime")
    clock.set(offset_s)
    return clock
