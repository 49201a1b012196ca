"""What the clocks cost. `python -m benchmarks` prints a table; ratios are what counts, the machine is in the head."""
