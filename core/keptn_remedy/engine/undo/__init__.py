"""Undo: within an execution (compensation), and after it has finished."""
