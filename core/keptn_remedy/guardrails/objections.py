"""What stands in the way of a plan: a refusal, a dry run, or an approval that is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keptn_remedy.guardrails.rails import Refusal


@dataclass(frozen=True, slots=True)
class DryRun:
    """The plan is reported and not applied. `refusal`: why it would not have been admitted."""

    rule: str
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class ApprovalNeeded:
    """A person must approve within `seconds`; without an answer by then, `default` applies."""

    rule: str
    seconds: float
    default: Literal["deny", "approve"]


Objection = Refusal | DryRun | ApprovalNeeded
"""Why a plan is not admitted, or not yet."""


class PolicyExchanged:
    """The rules that were asked are no longer in force."""
