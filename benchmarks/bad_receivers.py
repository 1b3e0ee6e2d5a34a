"""Receivers that do harm: `python -m benchmarks.bad_receivers HOLE_PORT DRIP_PORT`, on 127.0.0.1.

At the first port a connection is taken and nothing is ever read or answered. At the second one an
answer begins and goes on by a byte every 0.2 s, without end.
"""

import sys
from functools import partial

import trio

_DRIP_S = 0.2


async def _hole(_: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def _drip(stream: trio.SocketStream) -> None:
    try:
        await stream.receive_some(65_536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            await stream.send_all(b".")
            await trio.sleep(_DRIP_S)
    except trio.BrokenResourceError:
        return


async def serve(hole_port: int, drip_port: int) -> None:
    """Serve until killed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_tcp, _hole, hole_port, host="127.0.0.1"))
        nursery.start_soon(partial(trio.serve_tcp, _drip, drip_port, host="127.0.0.1"))


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]), int(sys.argv[2]))
