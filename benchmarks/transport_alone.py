"""relayd's transport without anything around it: `attempt` over a `Transport`, many at a time.

    python -m benchmarks.transport_alone URL COUNT TASKS

prints a JSON object with `seconds`, `cpu_s` and `memory_mib`. Bodies are the usual ones; each
request is built, but not signed, and nothing is recorded.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network

import httpx
import trio

from benchmarks import events
from relayd.transport.client import Transport
from relayd.transport.dialer import AddressGuard
from relayd.transport.exchange import attempt
from relayd.transport.request import build_request
from relayd.transport.tls_contexts import tls_context

_HEADERS = [
    ("X-LocallyGrown-Signature", "sha256=" + "0" * 64),
    ("X-LocallyGrown-Event", events.EVENT_TYPE),
    ("X-LocallyGrown-Delivery", "dlv_00000000_1"),
    ("X-LocallyGrown-Attempt", "1"),
]


async def measure(url: str, prefix: str, count: int, tasks: int) -> dict[str, float]:
    """Send so many requests. Raises RuntimeError when one fails."""
    where = httpx.URL(url)
    guard = AddressGuard([ip_network("127.0.0.0/8")])
    text = events.data()
    bodies: Iterator[bytes] = iter(
        [events.body(f"{prefix}_{index:08d}", text).encode() for index in range(count)]
    )

    async def send(transport: Transport) -> None:
        for body in bodies:
            request = build_request(where, _HEADERS, body)
            outcome = await attempt(transport, request, timeout_s=10.0, now=0.0)
            if not outcome.succeeded:
                raise RuntimeError(outcome.detail)

    async with Transport(where, guard=guard, tls=tls_context()) as transport:
        began, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(send, transport)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_s": cpu_s, "memory_mib": peak}


def main() -> None:
    """Measure, and print."""
    url, prefix, count, tasks = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(measure, url, prefix, int(count), int(tasks))))


if __name__ == "__main__":
    main()
