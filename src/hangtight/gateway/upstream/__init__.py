"""The way to the model servers: which there are, and the connections to them."""
