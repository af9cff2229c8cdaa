"""`remedy doctor`: what could keep the provider from working, one line each."""
