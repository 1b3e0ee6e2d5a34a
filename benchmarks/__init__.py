"""Measures relayd beside what a user would run otherwise: `python -m benchmarks --help`."""
