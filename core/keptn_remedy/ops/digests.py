"""What an approval is bound to."""

from __future__ import annotations

from hashlib import sha256

from keptn_remedy.action import Plan


def digest(plan: Plan | None) -> str:
    """The SHA-256 of a plan, in hexadecimal digits: it changes with anything in the plan."""
    return sha256(plan.to_json() if plan else b"no plan").hexdigest()
