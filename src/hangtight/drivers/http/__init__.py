"""The time contract beneath httpx and httpx2: transports that understand what a model's server says.

`call` reads what a client asks and under which terms; `syncs` and `asyncs` send it and keep the clocks; `answers`
puts a streamed answer together for a client that wanted it whole.
"""
