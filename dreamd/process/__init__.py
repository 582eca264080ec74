"""This process: its threads, its exit codes, its state folder, and its messages from and to systemd."""
