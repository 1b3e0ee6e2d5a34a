"""One module for each command, named as it is typed; `resume` is in `pause`."""
