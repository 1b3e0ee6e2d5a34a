"""Tests in whole Debian trees: they need root, debootstrap and a Debian mirror, and minutes.

`make test-deb` and `make test-systemd` run them, with RELAYD_TREES naming a folder that keeps the
trees they begin with. `make test` leaves them out.
"""

import os

collect_ignore_glob = [] if os.environ.get("RELAYD_TREES") else ["*"]
