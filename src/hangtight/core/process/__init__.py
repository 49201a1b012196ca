"""The life of one model process, and which models must go before another may come. Pure, like all of the core."""
