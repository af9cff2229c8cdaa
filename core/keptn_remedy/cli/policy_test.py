"""`remedy policy test`: what a policy would do with an execution, or with a file of cases."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from keptn_remedy.action import PlannedAction
from keptn_remedy.cli.found_actions import discover, unknown
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say,
    say_folded,
    say_json,
)
from keptn_remedy.guardrails.defaults import replica_settings
from keptn_remedy.guardrails.forecast import Forecast, forecast
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.guardrails.units import counted
from keptn_remedy.guardrails.values import Amount
from keptn_remedy.registry import Registry, RegistryError
from keptn_remedy.support import validation, variables
from keptn_remedy.support.reading import Document, DocumentError
from keptn_remedy.support.variables import SettingsError

_AT = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?(Z|[+-]\d{2}:?\d{2})?")


_Count = Annotated[int, Field(ge=0)]


def _a_time(text: str) -> str:
    if text and not _AT.fullmatch(text):
        raise ValueError('must be a time, such as "2026-12-24 10:00" or 2026-12-24T10:00Z')
    return text


class Imagined(BaseModel):
    """One execution that is imagined. A time without a zone is in that of the policy."""

    model_config = ConfigDict(
        extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True
    )

    action: str
    project: str = "project"
    stage: str = "stage"
    service: str = "service"
    labels: dict[str, str] = {}
    targets: list[str] = []
    replicas: tuple[_Count, _Count] | None = None
    cpu: tuple[Amount, Amount] | None = None
    memory: tuple[Amount, Amount] | None = None
    at: Annotated[str, AfterValidator(_a_time)] = ""

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """What it would change, with the values before and after."""
        sizes = {"cpu": self.cpu, "memory": self.memory}
        found = {name: (str(size[0]), str(size[1])) for name, size in sizes.items() if size}
        return {**({"replicas": self.replicas} if self.replicas else {}), **found}


class ExpectedCase(Imagined):
    """A case of a pipeline: what must happen, and by which rule if that matters."""

    name: str
    expect: Literal["acts", "asks", "dry-run", "refused", "ignored"]
    rule: str | None = None


class Cases(BaseModel):
    """A file of cases."""

    model_config = ConfigDict(extra="forbid")

    cases: list[ExpectedCase]


@dataclass(frozen=True, slots=True)
class _Under:
    """The policy, its rules, and the actions they are about."""

    policy: Policy
    rules: Rules
    registry: Registry

    def forecast(self, asked: Imagined) -> Forecast:
        entry = self.registry.entry(asked.action)
        labels = asked.labels.items()
        scope = Scope(
            project=asked.project,
            stage=asked.stage,
            service=asked.service,
            action=entry.name if entry else asked.action,
            labels=tuple(sorted(each for each in labels if each[0] in self.rules.label_names)),
            planned=issubclass(entry.cls, PlannedAction) if entry else True,
        )
        now, targets = self._moment(asked.at), tuple(asked.targets)
        return forecast(self.rules, scope, now, targets, asked.fields)

    def _moment(self, text: str) -> float:
        if not text:
            return time.time()
        found = datetime.fromisoformat(text)
        zone = ZoneInfo(self.policy.timezone)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()


def test(path: Path, given: Mapping[str, Any], *, as_json: bool) -> int:
    """Say what the policy would do with one execution; returns the exit code."""
    under = _read(path)
    if isinstance(under, int):
        return under
    try:
        asked = Imagined.model_validate(given)
        found = under.forecast(asked)
    except ValidationError as error:
        complain(_in_words(error))
        return WRONG_USAGE
    except ValueError as error:
        complain([f"--at: {error}"])
        return WRONG_USAGE
    if as_json:
        say_json(asdict(found))
        return GOOD
    say_folded(f"{found.verdict}{_by(found)}: {found.why.removeprefix('refused by ')}")
    if under.registry.entry(asked.action) is None:
        complain([f"note: {unknown(under.registry, asked.action)}"])
    for each in found.counted:
        say_folded(f"earlier executions count: {each}", "  - ", "    ")
    return GOOD


def test_cases(path: Path, cases: Path, *, as_json: bool) -> int:
    """Compare what the policy would do with what is expected; returns the exit code."""
    under = _read(path)
    if isinstance(under, int):
        return under
    try:
        document = Document(cases.read_text("utf-8"))
    except OSError as error:
        complain([f"can't read the cases: {reason(error)}"])
        return WRONG_USAGE
    except (UnicodeDecodeError, DocumentError) as error:
        complain([f"{cases}: {error}"])
        return WRONG_USAGE
    try:
        expected = Cases.model_validate(document.value).cases
    except ValidationError as error:
        complain(f"{cases}: {line}" for line in _in_words(error, document))
        return WRONG_USAGE
    wrong = [case for case in expected if not _show_case(under, case, as_json=as_json)]
    if not as_json:
        number = len(expected)
        are = "is" if number == 1 else "are"
        say(f"{number - len(wrong)} of {counted(number, 'case')} {are} as expected")
    return FAILED if wrong else GOOD


def _show_case(under: _Under, case: ExpectedCase, *, as_json: bool) -> bool:
    try:
        found = under.forecast(case)
    except ValueError as error:  # a day that no month has
        found = Forecast("refused", "", f"at: {error}")
    is_good = found.verdict == case.expect and case.rule in (None, found.rule)
    if as_json:
        say_json({"name": case.name, "good": is_good, "expected": case.expect, **asdict(found)})
    elif not is_good:
        wanted = f"{case.expect}{f' by {case.rule!r}' if case.rule else ''}"
        say_folded(f"{case.name}: {found.verdict}{_by(found)}, not {wanted}: {found.why}")
    return is_good


def _by(found: Forecast) -> str:
    return f" by the rule {found.rule!r}" if found.rule else " by the built-in rules"


def _read(path: Path) -> _Under | int:
    """The policy, or the exit code of what is wrong."""
    try:
        policy, registry = Policy.load(path.read_text("utf-8")), discover(os.environ)
        replicas = replica_settings(variables.read(os.environ))
        return _Under(policy, replicas.rules(policy, names=registry.names), registry)
    except OSError as error:
        complain([f"can't read the policy: {reason(error)}"])
        return WRONG_USAGE
    except UnicodeDecodeError:
        complain([f"{path} is not UTF-8 text"])
        return FAILED
    except PolicyError as error:
        complain(f"{path}: {mistake}" for mistake in error.mistakes)
        return FAILED
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE


def _in_words(error: ValidationError, document: Document | None = None) -> Iterator[str]:
    for mistake in error.errors():
        place: Sequence[str | int] = mistake["loc"]
        line = f"line {document.line(place)}: " if document else ""
        yield f"{line}{'.'.join(map(str, place))}: {validation.in_words(mistake)}"
