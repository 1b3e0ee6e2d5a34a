"""relayd, which writes the names of its modules to the file RELAYD_MODULES when it gets SIGUSR1."""

import os
import signal
import sys
from pathlib import Path

from relayd.__main__ import main


def _list(*_: object) -> None:
    listed = Path(os.environ["RELAYD_MODULES"])
    partial = listed.with_suffix(".partial")
    partial.write_text("\n".join(name for name in sys.modules))
    partial.rename(listed)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _list)
    sys.argv[0] = "relayd"
    main()
