"""A spool as a table in somebody else's SQLite file, and the confined process that reads it."""
