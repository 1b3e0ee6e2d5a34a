"""How documents look on a terminal: lines and tables for people."""
