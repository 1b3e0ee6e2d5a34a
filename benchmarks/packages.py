"""The Debian packages that the benchmarks use: installed where they are missing."""

import os
import shutil

from benchmarks.errors import RefusedError
from benchmarks.processes import run_whole

_RECEIVER = {"nginx": "nginx", "wrk": "wrk"}
_PEERS = {"redis-server": "redis-server", "redis-cli": "redis-tools", "syslog-ng": "syslog-ng-core"}
_MODULE = "syslog-ng-mod-http"


def ensure(*, peers: bool) -> list[str]:
    """Install what is missing, and return its names. Nothing that is installed here is started."""
    wanted = {**_RECEIVER, **(_PEERS if peers else {})}
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = sorted({name for program, name in wanted.items() if shutil.which(program) is None})
    if peers and not _has_http_module():
        missing.append(_MODULE)
    if not missing:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RefusedError(
            f"missing, and only root may install it: apt install {' '.join(missing)}"
        )
    apt = ["apt-get", "-qq", "-y"]
    # RUNLEVEL=1 keeps Debian's scripts from starting the services.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run_whole([*apt, "update"], timeout_s=300, env=quiet)
    run_whole([*apt, "install", "--no-install-recommends", *missing], timeout_s=600, env=quiet)
    return missing


def _has_http_module() -> bool:
    if shutil.which("syslog-ng") is None:
        return False
    return "http" in run_whole(["syslog-ng", "-V"], timeout_s=10).partition("Available-Modules:")[
        2
    ].partition("\n")[0].split(",")
