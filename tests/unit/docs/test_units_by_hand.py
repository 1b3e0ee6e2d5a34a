"""The steps of docs/installing.md for units by hand run where there is only what Debian's systemd brings."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/installing.md").read_text()


def test_each_file_can_be_installed(tmp_path: Path) -> None:
    for folder in ("etc/systemd/system", "etc/tmpfiles.d", "usr/share"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/relayd").mkdir()  # systemd-tmpfiles makes it, from what was installed before
    [section] = re.findall(r"^## The units by hand\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^    sudo (install .*)$", section, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        # Not for another user, who is not there.
        words = shlex.split(line.replace("-o relayd -g relayd ", ""))
        into = words.pop()
        subprocess.run([*words, f"{tmp_path}{into}"], cwd=ROOT, check=True)
    assert (tmp_path / "etc/sysusers.d/relayd.conf").is_file()
    assert (tmp_path / "etc/systemd/system/relayd.service").is_file()
