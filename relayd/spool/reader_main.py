"""A reader's process, from the channel that it is given to its exit status."""

import mmap
import os
import socket
import sqlite3
import sys
import traceback

from relayd.spool.daemon_channel import ClosedError, DaemonChannel
from relayd.spool.exit_status import (
    EXIT_BARRED,
    EXIT_CLOSED,
    EXIT_DEFECT,
    EXIT_MEMORY,
    EXIT_MOVED,
    PAGE_BYTES,
)
from relayd.spool.frames import Kind, frame
from relayd.spool.reader import BarredError, FolderMovedError, Reader
from relayd.spool.text_frames import settings_of


def read_spool(channel: socket.socket, page_descriptor: int) -> int:
    """Read the spool that the daemon names on `channel`. Returns the process's exit status."""
    with mmap.mmap(page_descriptor, PAGE_BYTES) as mapped, memoryview(mapped).cast("q") as page:
        os.close(page_descriptor)
        try:
            daemon = DaemonChannel(channel)
            reader = Reader(daemon, page, settings_of(daemon.first()))
            reader.confine()
            reader.run()
        except ClosedError:
            return EXIT_CLOSED
        except (FolderMovedError, FileNotFoundError, NotADirectoryError):
            return EXIT_MOVED
        except BarredError:
            return EXIT_BARRED
        except MemoryError:
            return EXIT_MEMORY
        except Exception:  # noqa: BLE001 - a defect, which the daemon logs
            _report(channel)
        return EXIT_DEFECT


def _report(channel: socket.socket) -> None:
    # Without the exception's own words, in which there may be a payload.
    kind, error, where = sys.exc_info()
    assert kind is not None
    stack = "".join(traceback.format_tb(where, limit=-20))
    said = str(error) if isinstance(error, sqlite3.Error | OSError) else ""
    text = f"{stack}{kind.__name__}: {said}"
    try:
        channel.setblocking(False)
        channel.sendall(frame(Kind.DEFECT, 0, text[-20_000:]))
    except OSError:
        return
