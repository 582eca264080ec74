"""`trace`: each message on the socket, decoded."""
