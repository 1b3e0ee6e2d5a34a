"""Decisions and values: no I/O, no clock, no randomness; the time and the jitter are arguments."""
