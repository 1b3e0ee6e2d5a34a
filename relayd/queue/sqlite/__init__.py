"""The queue in a SQLite file: the only place with its SQL. See `relayd.queue.interface`."""
