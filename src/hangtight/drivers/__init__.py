"""The only rooms that touch the world: the clock, event loops, threads, sockets, processes."""
