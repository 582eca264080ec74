"""What this process owns or is given by the system: its threads, and what systemd passes and is told."""
