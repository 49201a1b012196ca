"""What the pieces of each API mean: content, reasoning, contact, the end."""
