"""`trace`: print each message on the socket, decoded."""
