"""Who gets in, and how the gateway is served: sockets, clients that mean no good, a start and an end."""
