"""A process in the place of the one that reads the configuration: does what its path's name says."""

import os
import signal
import time

from relayd.child_process import GROUP_SIGNALS
from relayd.config.transfer import pieces_of_defect


def main(_daemon_pid: int, descriptor: int, path: str) -> None:
    match path.rpartition("/")[2]:
        case "hangs":
            for number in GROUP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            time.sleep(60)
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "ends in the middle of a piece":
            os.write(descriptor, b"\xff\x00\x00\x00half")
        case "closes and stays":
            os.close(descriptor)
            time.sleep(60)
        case "floods":
            while True:
                os.write(descriptor, bytes(65_536))
        case "has a defect":
            for piece in pieces_of_defect("KeyError"):
                os.write(descriptor, piece)
