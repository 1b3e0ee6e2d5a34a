"""The demonstration that `relayd demo` runs."""
