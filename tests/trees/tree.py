"""A Debian in a folder: made by debootstrap, entered by chroot, or booted with its systemd."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

MIRROR = os.environ.get("RELAYD_MIRROR", "http://deb.debian.org/debian")
PACKAGE = next(iter(sorted((Path(__file__).parents[2] / "dist").glob("relayd_*.deb"))), None)
WEB_PACKAGE = next(
    iter(sorted((Path(__file__).parents[2] / "dist").glob("relayd-web_*.deb"))), None
)
T = TypeVar("T")

SUITES = ("bookworm", "trixie")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

# In namespaces of its own, so that nothing of it is left outside when its process has ended.
_ENTER = """
set -e
tree=$1; shift
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
exec chroot "$tree" "$@"
"""

_BOOT = """
set -e
tree=$1
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname tree
mkdir -p old
pivot_root . old
umount -l /old
# As a container's manager does: systemd mounts credentials in a namespace of its own first.
mount --make-rshared /
ip link set lo up
exec env -i container=tree PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""

_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


class Tree:
    """A tree whose commands run in it: by chroot, or in the system that was booted of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._init: int | None = None

    def run(
        self, *command: str, status: int | None = 0, stdin: str = "", timeout_s: float = 600
    ) -> str:
        """Run a command in the tree as root; check its exit status, and return what it printed."""
        done = subprocess.run(
            self._into(command),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
            cwd="/",
            env=_PLAIN | {"DEBIAN_FRONTEND": "noninteractive"},
        )
        if status is not None and done.returncode != status:
            raise AssertionError(
                f"{command} ended with {done.returncode}: {done.stdout}{self._log()}"
            )
        return done.stdout

    def follow(self, *command: str, env: dict[str, str]) -> int:
        """Run a command in the tree as root, and return its exit status; its output is not kept."""
        done = subprocess.run(
            self._into(command), stdin=subprocess.DEVNULL, check=False, cwd="/", env=_PLAIN | env
        )
        return done.returncode

    def _into(self, command: Sequence[str]) -> list[str]:
        if self._init is not None:
            return ["nsenter", "--target", str(self._init), "--all", "--", *command]
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*spaces, "sh", "-c", _ENTER, "sh", str(self.path), *command]

    def _log(self) -> str:
        if self._init is None:
            return ""
        return self.run("journalctl", "--no-pager", "--lines=30", "--output=cat", status=None)

    def python(self, script: str, *arguments: str, user: str = "root", status: int = 0) -> str:
        """Run a script with the tree's Python, as a user with all of its groups."""
        as_user = ("setpriv", "--reuid", user, "--regid", user, "--init-groups", "--")
        return self.run(*as_user, "python3", "-c", script, *arguments, status=status)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file of root's in the tree."""
        path = self.path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def trust_as_here(self) -> None:
        """Give the tree this host's certificate authorities: behind a proxy, it has its own."""
        if AUTHORITIES.exists():
            shutil.copy(AUTHORITIES, self.path / str(AUTHORITIES).lstrip("/"))

    def install(self) -> str:
        """Install the package that `make deb` made, with what it needs."""
        assert PACKAGE is not None, "`make deb` makes the package"
        shutil.copy(PACKAGE, self.path / "root/relayd.deb")
        return self.run("apt-get", "install", "-y", "--reinstall", "/root/relayd.deb")

    def install_web(self) -> str:
        """Install the web process's package."""
        assert WEB_PACKAGE is not None, "`make deb` makes the package"
        shutil.copy(WEB_PACKAGE, self.path / "root/relayd.deb")
        return self.run("apt-get", "install", "-y", "--reinstall", "/root/relayd.deb")

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Run the tree's systemd as process 1 of namespaces of their own; no network but lo."""
        spaces = [f"--{space}" for space in ("mount", "pid", "uts", "ipc", "net", "cgroup")]
        with subprocess.Popen(
            ["unshare", *spaces, "--fork", "--kill-child", "sh", "-c", _BOOT, "sh", str(self.path)],
            stdin=subprocess.DEVNULL,
            env=_PLAIN,
        ) as unshare:
            try:
                self._init = until(lambda: _child(unshare.pid), "a first process")
                until(
                    lambda: (
                        self.run("systemctl", "is-system-running", status=None).strip()
                        in {"running", "degraded"}
                    ),
                    "a running system",
                )
                yield
            finally:
                if self._init is not None:
                    os.kill(self._init, signal.SIGKILL)
                self._init = None
                unshare.kill()


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def until(look: Callable[[], T | None], what: str, timeout_s: float = 60) -> T:
    """Look again and again until there is something, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
    return found


@contextmanager
def fresh(suite: str, *packages: str) -> Iterator[Tree]:
    """Yield a new tree of a Debian release with these packages beside the smallest set."""
    kept = Path(os.environ["RELAYD_TREES"]).absolute()
    kept.mkdir(parents=True, exist_ok=True)
    base = kept / "-".join((suite, *packages))
    if not base.exists():
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            tree = Path(folder, "tree")
            subprocess.run(
                ["debootstrap", "--variant=minbase", suite, str(tree), MIRROR],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            made = Tree(tree)
            # A mirror may be weeks behind, as debootstrap lets it be.
            made.run("apt-get", "--option=Acquire::Check-Valid-Until=false", "update")
            if packages:
                made.run("apt-get", "install", "-y", "--no-install-recommends", *packages)
            tree.rename(base)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        copy = Path(folder, "tree")
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(copy)], check=True)
        yield Tree(copy)
