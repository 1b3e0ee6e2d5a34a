"""Templates of readers with a fault: each module is run in the place of the real one."""
