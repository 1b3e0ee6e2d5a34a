"""The command: measures, and writes its results.

Exit status 0 when everything was measured (whether or not each target holds), 1 when a scenario
has no figures, since events were lost or a program failed.

All programs run from a copy of the code, so that nobody's edits disturb a run: the command copies
the checkout, or takes a commit of it, and starts itself again there.
"""

import argparse
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.measure import SCENARIOS, measure

_CHECKOUT = Path(__file__).parent.parent
_MEASURED = "RELAYD_BENCH_MEASURES"
"""Set in the copy: says what is measured."""


def main() -> int:
    """Run the scenarios that the command line names, in a copy of the code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measured = os.environ.get(_MEASURED)
    return _in_a_copy(arguments) if measured is None else measure(arguments, measured)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n\nAll")[0]
    )
    parser.add_argument("--quick", action="store_true", help="in less than three minutes")
    parser.add_argument(
        "--only",
        type=_names,
        default=list(SCENARIOS),
        metavar="NAMES",
        help=f"some scenarios, joined by commas, of: {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--commit", help="measure this commit's relayd (default: the files as they are)"
    )
    parser.add_argument("--no-peers", action="store_true", help="relayd alone")
    parser.add_argument("--repeats", type=int, help="how often each figure is measured")
    parser.add_argument(
        "--work",
        type=_absolute,
        default=Path("/var/tmp"),  # noqa: S108 - a folder of our own is made in it
        help="a folder on the disk to measure (default: /var/tmp)",
    )
    parser.add_argument(
        "--output",
        type=_absolute,
        help="the folder for the results (default: they are only printed)",
    )
    parser.add_argument(
        "--update",
        type=_absolute,
        nargs="*",
        default=[],
        metavar="FILE",
        help="documents that quote the figures between <!-- bench: NAME --> and <!-- /bench -->",
    )
    return parser.parse_args()


def _in_a_copy(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="relayd-bench-code-") as folder:
        unwanted = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(_CHECKOUT / "benchmarks", Path(folder, "benchmarks"), ignore=unwanted)
        if arguments.commit is None:
            shutil.copytree(_CHECKOUT / "relayd", Path(folder, "relayd"), ignore=unwanted)
            measured = _git("describe", "--always", "--dirty").decode().strip()
        else:
            measured = _git("rev-parse", "--short", arguments.commit).decode().strip()
            with tarfile.open(
                fileobj=io.BytesIO(_git("archive", arguments.commit, "relayd"))
            ) as tar:
                tar.extractall(folder, filter="data")
        env = {**os.environ, "PYTHONPATH": folder, _MEASURED: measured}
        command = [sys.executable, "-m", "benchmarks", *_with_whole_paths(arguments)]
        copy = subprocess.Popen(command, cwd=folder, env=env)  # noqa: S603 - ourselves
        try:
            return copy.wait()
        finally:
            if copy.poll() is None:
                copy.terminate()
                copy.wait()


def _with_whole_paths(arguments: argparse.Namespace) -> list[str]:
    """Return the command line anew; relative paths would mean something else in the copy."""
    words = ["--only", ",".join(arguments.only), "--work", str(arguments.work)]
    words += ["--quick"] * arguments.quick + ["--no-peers"] * arguments.no_peers
    if arguments.repeats is not None:
        words += ["--repeats", str(arguments.repeats)]
    if arguments.output is not None:
        words += ["--output", str(arguments.output)]
    return [*words, "--update", *map(str, arguments.update)]


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(_CHECKOUT), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - as above
    if done.returncode != 0:
        sys.exit(done.stderr.decode())
    return done.stdout


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


def _absolute(text: str) -> Path:
    return Path(text).absolute()


if __name__ == "__main__":
    sys.exit(main())
