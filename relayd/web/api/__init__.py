"""What programs ask and have done over HTTP: the documents of the commands, and their actions."""
