"""relayd, whose file changes while it starts, and which gets SIGHUP then: the file at `NEXT` becomes it."""

import os
import signal
from pathlib import Path

from relayd import daemon
from relayd.__main__ import main
from relayd.assembly import Assembly, assemble


async def _interrupted(*arguments: object, **named: object) -> Assembly:
    Path(os.environ["NEXT"]).rename(Path(os.environ["NEXT"]).with_name("config.yaml"))
    os.kill(os.getpid(), signal.SIGHUP)
    return await assemble(*arguments, **named)  # type: ignore[arg-type]  # as it was called


if __name__ == "__main__":
    setattr(daemon, "assemble", _interrupted)  # noqa: B010 - it is an import there
    main()
