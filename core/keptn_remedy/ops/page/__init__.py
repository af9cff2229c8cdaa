"""The page for people, on the ops port."""
