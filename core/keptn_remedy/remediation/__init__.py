"""What a remediation.yaml means, and what of a value belongs to this round alone."""
