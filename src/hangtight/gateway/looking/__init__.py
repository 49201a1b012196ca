"""Whether a server has stopped: how it is asked, what its answers prove, and what follows from that."""
