"""The door for agents: they ask, and people decide."""
