"""JimBot: a reinforcement-learning agent for Balatro. ``jimbot.mcp`` is its event path, ``jimbot.proto`` its schema."""
