"""YAML text -> a frozen Config, or all of its errors with their places; what differs in two."""
