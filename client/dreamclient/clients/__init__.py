"""The clients: one with a thread, one for an asyncio loop, and the daemon in this process that either can use."""
