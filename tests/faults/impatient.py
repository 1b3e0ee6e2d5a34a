"""relayd, which kills a silent reader soon."""

import sys

from relayd.cli import main
from relayd.sources import reader_process

if __name__ == "__main__":
    reader_process.SILENCE_S = 6.0  # type: ignore[misc]  # final elsewhere
    sys.argv[0] = "relayd"
    main()
