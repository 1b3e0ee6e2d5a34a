"""From the queue to the receivers: when, where to, and what came of it."""
