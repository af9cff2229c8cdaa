"""Remedies without Keptn: problems come in, a ladder of actions answers them, a judge decides."""
