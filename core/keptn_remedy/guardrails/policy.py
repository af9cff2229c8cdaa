"""The policy file: what a rule may match and set, and what is wrong with one, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError

from keptn_remedy.guardrails import mistakes
from keptn_remedy.guardrails.reading import Document, DocumentError
from keptn_remedy.guardrails.units import MINUTES_OF_DAY
from keptn_remedy.guardrails.values import (
    DAYS,
    Count,
    Days,
    Duration,
    Globs,
    Many,
    Moment,
    Name,
    Per,
    Positive,
    Step,
    TimeOfDay,
    Zone,
)

BUILT_IN = "built-in defaults"


class PolicyError(Exception):
    """The policy makes no sense; `mistakes` has one line for each."""

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
    """What a rule is about: each field that stands here must match. A field is a glob or a list of
    them (`*`, `?`, `[abc]`); a list matches when one of its globs does.
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
    """What the plan would change, as plans name it: `deployments.apps/shop/cart`. It is known only
    once there is a plan."""
    labels: Annotated[dict[Name, Globs], Field(max_length=100)] = {}
    """Labels of the event, each of which must be there and match."""


class Limit(_Entry):
    """A rate: so many executions within a length of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["within"], "properties": {"within": {"not": {"type": "null"}}}},
                {"properties": {"executions": {"type": "null"}}},
            ]
        }
    )

    executions: Count | None
    """How many at most; null lifts a less specific rule's limit with the same `per`."""
    within: Positive | None = None
    """The length of time, which ends now."""
    per: Per
    """What executions must have in common to be counted together."""

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        if self.executions is not None and self.within is None:
            raise ValueError("within is missing")
        return self


class Storm(_Entry):
    """When so much of a stage is touched that the cause is likely elsewhere."""

    targets: Annotated[Count, Field(le=500)]
    """Distinct targets of one stage that may be touched."""
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    """Share of the stage's services that may be touched."""
    within_seconds: Positive = Field(alias="within")
    """The length of time, which ends now."""


class Window(_Entry):
    """Hours of the week in which acting is allowed."""

    days: Days = DAYS
    """The days on which it opens."""
    start: TimeOfDay = Field(alias="from")
    """When it opens, on local clocks."""
    end: TimeOfDay = Field(alias="to")
    """When it closes, on local clocks; at or before `from` means on the next day."""
    timezone: Zone | None = None
    """Whose clocks; the policy's `timezone` if it isn't given."""

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
    """The first day, or the moment it begins."""
    end: Moment = Field(alias="to")
    """The last day, which is included, or the moment it ends."""
    reason: Name | None = None
    """Told in refusals."""
    timezone: Zone | None = None
    """Whose clocks; the policy's `timezone` if it isn't given."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end.end <= self.start.start:
            raise ValueError("to is not after from")
        return self


class Undo(_Entry):
    """When what was done is put back without anybody asking."""

    on_abort: bool = False
    """When the sequence is aborted while the execution is open."""
    on_closed: bool = False
    """When the problem closes."""
    after: Positive | None = None
    """So long after the execution's end."""


class Rule(_Entry):
    """What holds for some executions. `null` switches a less specific rule's setting off."""

    name: Name
    """Told in every refusal."""
    match: Match = Match()
    """Which executions; all of them if it isn't given."""
    decision: Literal["allow", "deny", "ignore"] = "allow"
    """`deny`: refused. `ignore`: no answer at all, as for an action we don't have."""
    mode: Literal["act", "dry-run", "approve"] = "act"
    """`dry-run`: the plan is told and not carried out. `approve`: a person is asked."""
    approve_within: Positive = 900.0
    """How long a person may take; after that `approval_default` holds."""
    approval_default: Literal["deny", "approve"] = "deny"
    """What silence means."""
    cooldown: Positive | None = None
    """Rest of a target after the end of the last execution that touched it."""
    once_within: Positive | None = None
    """The same action on the same target only once within this time."""
    at_most: Annotated[tuple[Limit, ...], Field(min_length=1, max_length=100), Many] | None = None
    """Rates. One replaces a less specific rule's with the same `per`; others stay."""
    suspend_after: Annotated[int, Field(ge=1, le=50)] | None = None
    """Executions in a row, of the same action on the same target, that did not help; then it is
    refused until a person resumes it."""
    storm: Storm | None = None
    """When so much of a stage is touched that the cause is likely elsewhere: it is refused."""
    replicas_at_most: Count | None = None
    """No scaling up beyond this number of replicas."""
    replicas_at_least: Count | None = None
    """No scaling down below this number of replicas."""
    zero_replicas: bool = False
    """Whether scaling to 0 is allowed."""
    replicas_step: Step | None = None
    """How far one execution may scale, up or down: `x2`, `50%`, or a number of replicas."""
    targets_at_most: Count | None = None
    """Targets (flags, workloads) of one execution."""
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=100), Many] | None = None
    """Acts only inside one of them."""
    blackouts: Annotated[tuple[Blackout, ...], Field(min_length=1, max_length=100), Many] | None = (
        None
    )
    """Acts in none of them."""
    at_once: Count | None = None
    """Planned executions that may run or settle at the same time, counted over all."""
    settle: Duration | None = None
    """So long after its end an execution still counts as running."""
    turn_within: Duration = 300.0
    """How long to wait for `at_once` before refusing."""
    on_refused: Literal["fail", "warning"] = "fail"
    """What a refusal is told to Keptn as."""
    on_failed: Literal["fail", "warning"] = "fail"
    """What a failure is told to Keptn as."""
    undo: Undo | None = None
    """When what was done is put back without anybody asking."""

    @property
    def settings(self) -> frozenset[str]:
        """What it sets, `null` included."""
        return frozenset(self.model_fields_set - {"name", "match"})

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == BUILT_IN or not name.isprintable():
            raise ValueError("must be one line of text, and not what holds without a policy")
        return name

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.settings:
            raise ValueError("it sets nothing")
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
    """When executions are held back, and how (REMEDY_POLICY)."""

    version: Literal[1]
    """The version of this format."""
    timezone: Zone = "UTC"
    """Of windows and blackouts that name none."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=1_000), Many] = ()
    """In any order: the most specific one wins, setting by setting."""

    @field_validator("rules")
    @classmethod
    def _have_names_of_their_own(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            if rule.name in seen:
                place = {"below": (index, "name")}
                raise PydanticCustomError("name_taken", "another rule is called so", place)
            seen.add(rule.name)
        return rules

    @classmethod
    def load(cls, text: str) -> Policy:
        """The policy that a file's text holds.

        Raises:
            PolicyError: with one line per mistake.
        """
        try:
            document = Document(text)
        except DocumentError as error:
            raise PolicyError(error.mistakes) from None
        if not document.is_map:
            raise PolicyError(["it must be a map that begins with `version: 1`"])
        try:
            return cls.model_validate(document.value)
        except ValidationError as error:
            raise PolicyError(mistakes.told(document, error, KEYS)) from None


_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Policy,
    ("rules",): Rule,
    ("rules", "match"): Match,
    ("rules", "at_most"): Limit,
    ("rules", "storm"): Storm,
    ("rules", "windows"): Window,
    ("rules", "blackouts"): Blackout,
    ("rules", "undo"): Undo,
}
KEYS = {
    path: frozenset(field.alias or name for name, field in model.model_fields.items())
    for path, model in _MODELS.items()
}
"""What may stand where, for who misspells it."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = Policy.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made}


class _Schema(GenerateJsonSchema):
    """Without null and lists as defaults: they are not what holds when nothing is written."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if not isinstance(made.get("default"), str | bool | float):
            made.pop("default", None)
        return made
