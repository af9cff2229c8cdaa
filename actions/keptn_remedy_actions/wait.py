"""wait: lets a sequence wait for a while; the execution rests in the journal meanwhile."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, cast

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from keptn_remedy import Action, ActionSettings, Context, Denied, Later, Outcome

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_SECONDS = 7 * 86_400.0


def _read(given: Any) -> float:
    """Seconds, from a number of them or from a text such as 90s, 5m or 1h30m."""
    text = str(given).strip().lower().replace(" ", "")
    if isinstance(given, bool) or not text or len(text) > 30:
        raise ValueError("must be a duration such as 30s, 5m or 1h30m")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError(f"{given!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


Seconds = Annotated[
    float,
    BeforeValidator(_read, json_schema_input_type=str | float),
    Field(gt=0, le=_LONGEST_SECONDS),
]


class WaitSettings(ActionSettings):
    """How long a sequence may wait."""

    longest: Seconds
    """The longest duration that an event may ask for, such as `1h`. Without it `wait` is off."""


class WaitValue(BaseModel):
    """How long to wait: a duration alone, or a map with it."""

    duration: Seconds

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        return cast("Any", given) if isinstance(given, dict) else {"duration": given}


class Wait(Action):
    """Wait for a while, and pass."""

    name = "wait"
    aliases = ("wait-for", "sleep")

    Settings: ClassVar[Any] = WaitSettings
    Value: ClassVar[Any] = WaitValue

    settings: WaitSettings

    async def run(self, context: Context, value: WaitValue) -> Outcome:
        if value.duration > self.settings.longest:
            longest = self.settings.longest
            raise Denied(f"{value.duration:g} s is more than WAIT_LONGEST allows, {longest:g} s")
        if context.waited < value.duration:
            raise Later(value.duration - context.waited)
        return Outcome.passed(f"waited {context.waited:g} s")
