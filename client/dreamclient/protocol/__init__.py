"""What both ends of a connection share, without I/O: MessagePack-RPC, and a host's side of a session."""
