"""What every other package may use: clock, logs, metrics, masking, variables, validation."""
