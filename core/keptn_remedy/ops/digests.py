"""What an approval is bound to."""

from __future__ import annotations

from hashlib import sha256

import orjson

from keptn_remedy.action import JSON, Plan


def digest_of_essence(essence: JSON) -> str:
    """The SHA-256 of what of a plan an agent's request is bound to, in hexadecimal digits.

    Raises:
        orjson.JSONEncodeError: an author's action gave something else than JSON.
    """
    return sha256(orjson.dumps(essence, option=orjson.OPT_SORT_KEYS)).hexdigest()


def digest(plan: Plan | None) -> str:
    """The SHA-256 of a plan, in hexadecimal digits: it changes with anything in the plan."""
    return sha256(plan.to_json() if plan else b"no plan").hexdigest()
