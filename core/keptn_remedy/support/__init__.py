"""What every other package stands on: time, logs, metrics, secrets, variables, validation."""
