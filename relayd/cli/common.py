"""The shared options and output under one name."""

from relayd.cli.options import config_option, json_option
from relayd.cli.output import print_json

__all__ = ["config_option", "json_option", "print_json"]
