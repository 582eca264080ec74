"""Running dreams: the engine decides, a task runs each dialogue, and its file goes to the inbox."""
