"""Reads remediation.yaml, and drops from a value what earlier rounds left in it."""
