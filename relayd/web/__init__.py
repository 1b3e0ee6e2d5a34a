"""The web process: reads the queue beside the daemon, and acts through its sockets."""
