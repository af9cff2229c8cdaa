"""What each screen shows: pure functions from records to view models."""
