"""What makes a measurement worthless."""


class RefusedError(Exception):
    """No figure may be reported: events were lost, or the set-up was not what it should be."""
