"""What an inbox file holds, in memory. Pure."""
