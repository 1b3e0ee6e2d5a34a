"""The JSON documents that commands print: the contract with programs, without a terminal's words."""
