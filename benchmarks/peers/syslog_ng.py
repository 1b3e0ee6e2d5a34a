"""syslog-ng's http() destination behind a reliable disk buffer.

It is C, and has no record of attempts and no signature: the bar for CPU time that no Python
reaches. Its disk buffer is written, but not synced, before a line is taken in.
"""

import socket
import time
from pathlib import Path

from benchmarks import events
from benchmarks.bench import Bench, Run
from benchmarks.contenders import watch
from benchmarks.errors import RefusedError
from benchmarks.processes import Program

_CONFIG = """\
@version: 3.38
options {{ stats-freq(0); time-reopen(1); }};
source events {{
  unix-stream("{folder}/events.sock" flags(no-parse) log-fetch-limit(1000) log-iw-size(100000));
}};
destination receiver {{
  http(
    url("{url}") method("POST") headers("Content-Type: application/json") body("$MESSAGE")
    workers({workers}) batch-lines(1) timeout(10) retries(5) persist-name("receiver")
    disk-buffer(
      reliable(yes) disk-buf-size(1073741824) mem-buf-size(67108864) dir("{folder}/buffer")
    )
  );
}};
log {{ source(events); destination(receiver); flags(flow-control); }};
"""


class SyslogNgContender:
    """syslog-ng, fed through a Unix socket with one line for each event."""

    name = "syslog-ng http()"

    def __init__(self, workers: int) -> None:
        self.note = (
            f"syslog-ng's http() with {workers} workers, batch-lines(1) and a reliable disk "
            "buffer (not synced); no signature, no record of attempts"
        )
        self._workers = workers

    def run(self, bench: Bench) -> Run:
        """Hand over the lines, and measure from the first tenth of the arrivals on."""
        event_ids = events.ids(bench.plan.fast_peer_events)
        lines = "".join(f"{body}\n" for body in events.bodies(event_ids, events.data())).encode()
        with bench.folder() as folder:
            (folder / "buffer").mkdir()
            config = folder / "syslog-ng.conf"
            url = f"{bench.receiver.url}/hook"
            config.write_text(_CONFIG.format(folder=folder, url=url, workers=self._workers))
            arguments = [
                *("syslog-ng", "-F", "--no-caps", "-f", str(config)),
                *("-R", str(folder / "persist"), "-c", str(folder / "control")),
                *("-p", str(folder / "pid")),
            ]
            with Program(arguments, log=folder / "syslog-ng.log") as program:
                arrivals = bench.receiver.arrivals()
                with _connected(folder / "events.sock", program) as producer:
                    producer.sendall(lines)
                    return watch(arrivals, [program], event_ids)


def _connected(path: Path, program: Program) -> socket.socket:
    """Connect to syslog-ng once it listens."""
    until = time.monotonic() + 10
    producer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        program.check()
        try:
            producer.connect(str(path))
        except OSError:
            if time.monotonic() > until:
                raise RefusedError(f"syslog-ng does not listen: {program.last_lines()}") from None
            time.sleep(0.02)
        else:
            return producer
