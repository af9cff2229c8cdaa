"""Telling people what needs them: from what the journal noted to chat, pager and alerts."""
