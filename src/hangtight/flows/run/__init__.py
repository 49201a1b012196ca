"""One run of a flow: each step from its begin to its end, under its clocks, with its files."""
