"""What holds executions back: the policy, and the rails that ask it."""
