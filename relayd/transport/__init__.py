"""Sends one request to one origin, over connections that it keeps, and reads the response."""
