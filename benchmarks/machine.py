"""What the measurements ran on: processor, memory, kernel, disk and versions."""

import os
import platform
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.processes import run_whole

_PACKAGES = (
    "trio",
    "httpx",
    "h11",
    "httptools",
    "aiosqlite",
    "huey",
    "celery",
    "redis",
    "requests",
)
_SYNCS = 50


def describe(work: Path) -> dict[str, str]:
    """Return the machine's description; `work` is on the disk that is measured."""
    return {
        "processor": f"{os.cpu_count()} of {_from_file('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_from_file('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "system": f"{_from_file('/etc/os-release', 'PRETTY_NAME')}, Linux {platform.release()}",
        "disk": f"{_file_system(work)}, a synced write of 4 KiB takes {_sync_ms(work):.2f} ms",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "programs": ", ".join(_programs()),
    }


def _from_file(path: str, key: str) -> str:
    lines = Path(path).read_text().splitlines()
    line = next((line for line in lines if line.startswith(key)), "")
    return line.removeprefix(key).strip().lstrip("=:").strip().strip('"')


def _file_system(path: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [mount for mount in mounts if path.is_relative_to(mount[1].replace("\\040", " "))]
    return max(inside, key=lambda mount: len(mount[1]))[2] if inside else "?"


def _sync_ms(folder: Path) -> float:
    path = folder / "sync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(_SYNCS):
            os.write(descriptor, b"\0" * 4096)
            os.fdatasync(descriptor)
        return (time.perf_counter() - began) / _SYNCS * 1000
    finally:
        os.close(descriptor)
        path.unlink()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _programs() -> list[str]:
    shell = (
        "nginx -v 2>&1 | sed 's/.*nginx.//; s/^/nginx /';"
        "redis-server --version 2>/dev/null | sed 's/.* v=\\([^ ]*\\).*/Redis \\1/';"
        "syslog-ng --version 2>/dev/null | sed -n 's/.*(\\(.*\\)).*/syslog-ng \\1/p' | head -1"
    )
    return run_whole(["sh", "-c", shell], timeout_s=10).splitlines()


class OthersWork:
    """How much of the machine other programs took, from when this is made to when it is asked."""

    def __init__(self) -> None:
        self._before = _busy_and_all(), _own_s(), time.monotonic()

    def percent(self) -> float:
        """Return it in percent of all processors. Programs that still run count as others."""
        (busy, everything), own_s, _ = self._before
        busy_now, everything_now = _busy_and_all()
        share = (busy_now - busy) / max(1, everything_now - everything)
        own = (_own_s() - own_s) / (time.monotonic() - self._before[2]) / (os.cpu_count() or 1)
        return max(0.0, share - own) * 100


def _busy_and_all() -> tuple[int, int]:
    ticks = [int(word) for word in _from_file("/proc/stat", "cpu ").split()[:8]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
