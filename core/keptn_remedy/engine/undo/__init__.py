"""Compensation: undoing within an execution, and after it has finished."""
