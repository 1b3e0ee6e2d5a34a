"""The process's beginning: `relayd`, and `python -m relayd`."""

import os
import sys

_INTERRUPTED = 130
"""As a shell has it: 128 and SIGINT's number."""


def main() -> None:
    """Run the command line. Ctrl-C while it is being loaded ends it without a traceback.

    Nothing else is imported above: pip's script for a command imports this module first.
    """
    try:
        import signal  # noqa: PLC0415 - inside: loading it takes a moment, too

        # Where it is ignored, as behind nohup, it stays so.
        before = signal.getsignal(signal.SIGINT)
        interruptible = before is signal.default_int_handler
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if "run" in sys.argv[1:]:
            from relayd.program_files import digest_at_start  # noqa: PLC0415 - see above

            digest_at_start()  # before the daemon's modules are loaded
        from relayd.cli import main as command_line  # noqa: PLC0415 - see above

        if interruptible:
            signal.signal(signal.SIGINT, before)
        command_line()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
