"""The Debian packages that the benchmarks use: installed where they are missing.

What is installed is only run by the benchmarks: its services are neither started nor enabled, and
nothing else is removed for it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import RefusedError
from benchmarks.processes import run_whole

_RECEIVER = {"nginx": "nginx", "wrk": "wrk"}
_PEERS = {"redis-server": "redis-server", "redis-cli": "redis-tools", "syslog-ng": "syslog-ng-core"}
_HTTP_MODULE = "syslog-ng-mod-http"
_SERVICES = {"nginx": "nginx", "redis-server": "redis-server", "syslog-ng-core": "syslog-ng"}

_POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's packages whether they may start their services; 101 means no."""


def ensure(*, peers: bool) -> list[str]:
    """Install what is missing, and return the names of its packages."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    wanted = {**_RECEIVER, **(_PEERS if peers else {})}
    missing = sorted({name for program, name in wanted.items() if shutil.which(program) is None})
    if peers and not _has_http_module():
        missing.append(_HTTP_MODULE)
    if not missing:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RefusedError(
            f"only root may install what is missing: apt install {' '.join(missing)}"
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "-y", "--no-remove", "--no-install-recommends", "install"]
    with _no_services():
        run_whole(["apt-get", "-qq", "update"], timeout_s=300, env=env)
        run_whole([*install, *missing], timeout_s=600, env=env)
    services = [_SERVICES[name] for name in missing if name in _SERVICES]
    if services and Path("/run/systemd/system").exists():
        run_whole(["systemctl", "--quiet", "disable", *services], timeout_s=60)
    return missing


def _has_http_module() -> bool:
    if shutil.which("syslog-ng") is None:
        return False
    described = run_whole(["syslog-ng", "--version"], timeout_s=10)
    modules = next(line for line in described.splitlines() if line.startswith("Available-Modules:"))
    return "http" in modules.partition(":")[2].strip().split(",")


@contextmanager
def _no_services() -> Iterator[None]:
    """Let no package start its service, for the length of the block."""
    if _POLICY.exists():  # The machine has a policy of its own.
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
