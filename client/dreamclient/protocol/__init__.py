"""The protocol without I/O: MessagePack-RPC, which both ends share, and a host's side of a session."""
