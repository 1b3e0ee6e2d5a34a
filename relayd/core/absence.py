"""Why no daemon answers a command."""

from enum import StrEnum


class Absence(StrEnum):
    """The values are codes in `--json`."""

    NOT_RUNNING = "not_running"
    """Nothing listens on the control socket."""
    NOT_PERMITTED = "not_permitted"
    """This user may not ask, so that nothing is known."""
    NOT_ANSWERING = "not_answering"
    """A process listens, but it does not answer, or has ended before it did."""
