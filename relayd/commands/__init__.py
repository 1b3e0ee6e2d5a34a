"""What the running daemon does for the operator's commands, asked over the control socket.

The commands find out by themselves what is to be touched, in the queue's file; here it is done, in
transactions of a bounded number of rows.
"""
