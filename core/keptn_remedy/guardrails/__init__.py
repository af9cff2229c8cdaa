"""When not to act: the policy, the guard-rails that enforce it, and the pause."""
