"""Rules: what files and the environment say about time, and where exactly they say it."""
