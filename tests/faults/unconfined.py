"""relayd, on a system that refuses Landlock."""

import sys
from functools import partial

from relayd.cli import main
from relayd.sources import spools
from relayd.sources.readers import Readers

if __name__ == "__main__":
    faulty = partial(Readers, "faults.faulty_readers.unconfined")
    setattr(spools, "Readers", faulty)  # noqa: B010 - it is an import there
    sys.argv[0] = "relayd"
    main()
