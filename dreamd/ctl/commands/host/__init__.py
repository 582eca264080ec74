"""`host`: a host in any language, as a child process that speaks JSON lines."""
