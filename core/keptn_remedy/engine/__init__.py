"""What happens to an accepted trigger: from its turn to its outcome, and the undo of that."""
