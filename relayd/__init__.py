"""relayd: a webhook relay for one machine."""

__version__ = "0.1.0"
