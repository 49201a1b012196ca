"""One address in front of every model: the ASGI app, its upstream, and what surrounds both."""
