"""relayd, with a defect at each attempt whose words quote the whole URL, as a library's may."""

import sys

from relayd.cli import main
from relayd.transport.client import Transport
from relayd.transport.request import Request
from relayd.transport.response import Answer


async def faulty(self: Transport, request: Request) -> Answer:
    cause = ValueError(f"cannot parse {request.url}")
    raise RuntimeError(f"no answer from '{request.url}'") from cause


if __name__ == "__main__":
    setattr(Transport, "send", faulty)  # noqa: B010 - the fault
    sys.argv[0] = "relayd"
    main()
