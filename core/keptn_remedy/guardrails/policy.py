"""The policy file: what a rule may match and set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError

from keptn_remedy.guardrails import mistakes
from keptn_remedy.guardrails.units import MINUTES_OF_DAY
from keptn_remedy.guardrails.values import (
    DAYS,
    Amount,
    Channels,
    Count,
    Days,
    Duration,
    Globs,
    Many,
    Moment,
    Name,
    Per,
    Positive,
    SizeStep,
    Step,
    TimeOfDay,
    Zone,
)

BUILT_IN = "built-in defaults"


class PolicyError(Exception):
    """The policy is invalid. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class _Entry(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class Match(_Entry):
    """The executions that a rule applies to: all given fields must match. A field is a glob (`*`,
    `?`, `[abc]`) or a list of globs, of which one must match.
    """

    project: Globs = ()
    """Keptn projects."""
    stage: Globs = ()
    """Keptn stages."""
    service: Globs = ()
    """Keptn services."""
    action: Globs = ()
    """Names of actions, compared without case, `-` and `_`."""
    target: Globs = ()
    """What the plan would change, as plans name it: `deployments.apps/shop/cart`. Known only once
    there is a plan."""
    labels: Annotated[dict[Name, Globs], Field(max_length=100)] = {}
    """Labels of the event; each must exist and match."""


class Limit(_Entry):
    """A rate: a number of executions within a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["within"], "properties": {"within": {"not": {"type": "null"}}}},
                {"properties": {"executions": {"type": "null"}}},
            ]
        }
    )

    executions: Count | None
    """The limit; null removes a less specific rule's limit with the same `per`."""
    within: Positive | None = None
    """The time before now in which executions are counted."""
    per: Per
    """Executions with the same values of these are counted together."""

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        if self.executions is not None and self.within is None:
            raise ValueError("within is missing")
        return self


class Storm(_Entry):
    """Refuses when so much of a stage is touched that the cause is likely elsewhere."""

    targets: Annotated[Count, Field(le=500)]
    """The number of distinct targets of one stage that may be touched."""
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    """The share of the stage's services that may be touched."""
    within_seconds: Positive = Field(alias="within")
    """The time before now in which they are counted."""


class Window(_Entry):
    """Hours of the week in which acting is allowed."""

    days: Days = DAYS
    """The days on which it opens."""
    start: TimeOfDay = Field(alias="from")
    """When it opens, in local time."""
    end: TimeOfDay = Field(alias="to")
    """When it closes, in local time; at or before `from` means on the next day."""
    timezone: Zone | None = None
    """The time zone; by default the policy's `timezone`."""

    @model_validator(mode="after")
    def _is_open(self) -> Self:
        if self.start == self.end:
            raise ValueError('from and to are the same; a whole day is from "00:00" to "24:00"')
        if self.start == MINUTES_OF_DAY:
            raise ValueError('from can\'t be "24:00"; the next day begins at "00:00"')
        return self


class Blackout(_Entry):
    """Days or hours in which acting is not allowed."""

    start: Moment = Field(alias="from")
    """The first day, or the time at which it begins."""
    end: Moment = Field(alias="to")
    """The last day, included, or the time at which it ends."""
    reason: Name | None = None
    """Shown in refusals."""
    timezone: Zone | None = None
    """The time zone; by default the policy's `timezone`."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end.end <= self.start.start:
            raise ValueError("to is not after from")
        return self


class UndoRule(_Entry):
    """When changes are undone without an order."""

    on_abort: bool = False
    """When the sequence is aborted while the execution is open."""
    on_closed: bool = False
    """When the problem closes."""
    after: Positive | None = None
    """This long after the execution's end."""


class Rule(_Entry):
    """Settings for some executions. `null` switches off what a less specific rule sets."""

    name: Name
    """Shown in every refusal."""
    match: Match = Match()
    """The executions it applies to; by default all."""
    decision: Literal["allow", "deny", "ignore"] = "allow"
    """`deny`: refused. `ignore`: Keptn gets no reply, as for an action we don't have."""
    mode: Literal["act", "dry-run", "approve"] = "act"
    """`dry-run`: the plan is reported, not applied. `approve`: a person must approve it first."""
    approve_within: Positive = 900.0
    """How long an approver has; after that `approval_default` applies."""
    approval_default: Literal["deny", "approve"] = "deny"
    """What happens without an answer."""
    cooldown: Positive | None = None
    """The least time between the end of an execution on a target and the next one."""
    once_within: Positive | None = None
    """The same action on the same target only once within this time."""
    at_most: Annotated[tuple[Limit, ...], Field(min_length=1, max_length=100), Many] | None = None
    """Rates. One replaces a less specific rule's rate with the same `per`; others stay."""
    suspend_after: Annotated[int, Field(ge=1, le=50)] | None = None
    """Executions in a row, of one action on one target, that did not solve the problem; after so
    many it is refused until a person resumes it."""
    storm: Storm | None = None
    """Refuses when so much of a stage is touched that the cause is likely elsewhere."""
    replicas_at_most: Count | None = None
    """No scaling up beyond this number of replicas."""
    replicas_at_least: Count | None = None
    """No scaling down below this number of replicas."""
    zero_replicas: bool = False
    """Whether scaling to 0 is allowed."""
    replicas_step: Step | None = None
    """How far one execution may scale, up or down: `x2`, `50%`, or a number of replicas."""
    cpu_at_most: Amount | None = None
    """No container gets more CPU than this: `2`, `1500m`."""
    memory_at_most: Amount | None = None
    """No container gets more memory than this: `2Gi`."""
    cpu_step: SizeStep | None = None
    """How far one execution may change the CPU of a container, up or down: `x2`, `+30%`."""
    memory_step: SizeStep | None = None
    """How far one execution may change the memory of a container, up or down: `x2`, `+30%`."""
    targets_at_most: Count | None = None
    """The number of targets (flags, workloads) that one execution may change."""
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=100), Many] | None = None
    """Acts only inside one of them."""
    blackouts: Annotated[tuple[Blackout, ...], Field(min_length=1, max_length=100), Many] | None = (
        None
    )
    """Acts in none of them."""
    at_once: Count | None = None
    """The number of planned executions that may run or settle at the same time, over all."""
    settle: Duration | None = None
    """How long after its end an execution still counts as running."""
    turn_within: Duration = 300.0
    """How long an execution waits for `at_once` before it is refused."""
    on_refused: Literal["fail", "warning"] = "fail"
    """The result that a refusal has in Keptn."""
    on_failed: Literal["fail", "warning"] = "fail"
    """The result that a failure has in Keptn."""
    notify: Channels | None = None
    """Who is told (docs/notifications.md): channels, or a map of channels to what they are told. By
    default REMEDY_NOTIFY decides; `[]` or null tells nobody."""
    undo: UndoRule | None = None
    """When changes are undone without an order."""

    @property
    def settings(self) -> frozenset[str]:
        """The names of what it sets, with those set to `null`."""
        return frozenset(self.model_fields_set - {"name", "match"})

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == BUILT_IN or not name.isprintable():
            raise ValueError(f"must be one line of text, and not '{BUILT_IN}'")
        return name

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.settings:
            raise ValueError("it sets nothing; add a setting or remove the rule")
        if self.decision == "ignore" and self.match.target:
            raise ValueError(
                "decision: ignore can't go with match: target, which is known only after planning"
            )
        least, most = self.replicas_at_least, self.replicas_at_most
        if least and most and least > most:
            raise ValueError("replicas_at_least is more than replicas_at_most")
        pers = [frozenset(limit.per) for limit in self.at_most or ()]
        if len(pers) > len(set(pers)):
            raise ValueError("at_most has two limits with the same per")
        return self


class Policy(_Entry):
    """When executions may act, and how (REMEDY_POLICY)."""

    version: Literal[1]
    """The version of this format."""
    timezone: Zone = "UTC"
    """The time zone of windows and blackouts without one."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=1_000), Many] = ()
    """In any order: the most specific one wins, setting by setting."""

    @field_validator("rules")
    @classmethod
    def _have_names_of_their_own(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            if rule.name in seen:
                place = {"below": (index, "name")}
                raise PydanticCustomError("name_taken", "another rule has this name", place)
            seen.add(rule.name)
        return rules

    @classmethod
    def load(cls, text: str) -> Policy:
        """Parse the text of a policy file.

        Raises:
            PolicyError: with one line per mistake.
        """
        return mistakes.load(text, cls, PolicyError, partial(mistakes.lines, keys=KEYS))


_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Policy,
    ("rules",): Rule,
    ("rules", "match"): Match,
    ("rules", "at_most"): Limit,
    ("rules", "storm"): Storm,
    ("rules", "windows"): Window,
    ("rules", "blackouts"): Blackout,
    ("rules", "undo"): UndoRule,
}
KEYS = {
    path: frozenset(field.alias or name for name, field in model.model_fields.items())
    for path, model in _MODELS.items()
}
"""The keys that each map may have, for hints on misspelt ones."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = Policy.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made}


class _Schema(GenerateJsonSchema):
    """Leaves out defaults that are null or lists: what applies then is in no single value."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if not isinstance(made.get("default"), str | bool | float):
            made.pop("default", None)
        return made
