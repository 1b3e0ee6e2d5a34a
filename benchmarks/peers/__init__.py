"""What a user would otherwise run, each set up as its own documentation advises."""
