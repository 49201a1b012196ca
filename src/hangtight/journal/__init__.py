"""The journal: the durable record of every generation and every time decision."""
