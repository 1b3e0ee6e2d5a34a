"""relayd, for which the host names in RELAYD_NAMES lead to addresses: `shop.example=10.0.0.1`."""

import os
import sys

from relayd.cli import main
from relayd.transport import resolver

if __name__ == "__main__":
    names = dict(each.split("=") for each in os.environ["RELAYD_NAMES"].split())
    system = resolver._system_addresses

    setattr(  # noqa: B010 - the fault
        resolver,
        "_system_addresses",
        lambda host, ip: [names[host]] if host in names else system(host, ip),
    )
    sys.argv[0] = "relayd"
    main()
