"""Where events come from: spools, and the producers' socket."""
