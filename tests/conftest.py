"""What all tests share."""

import signal

from hypothesis import settings

# A busy machine is no defect: no example fails for its time.
settings.register_profile("relayd", deadline=None)
settings.load_profile("relayd")

# A shell's background job begins with SIGINT ignored, and so would every process that a test starts
# and ends with Ctrl-C. One that is caught here is the default there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
