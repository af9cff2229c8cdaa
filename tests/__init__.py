"""The tests; helpers that several of them share sit beside them."""
