"""The pure machines: no clock, no I/O, no randomness, no logging. `now` is always an argument."""
