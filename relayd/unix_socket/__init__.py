"""Unix sockets on which each line is asked and answered: the producers' and the operator's."""
