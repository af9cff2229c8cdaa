"""Keptn's slo.yaml: its objectives scored as Keptn's lighthouse does, but for what is missing."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, cast

from keptn_remedy.action import PermanentError
from keptn_remedy.remediation.file import as_map, as_text

FILE: Final = "slo.yaml"
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_SHARES = {"pass": 1.0, "warning": 0.5, "fail": 0.0, "info": 0.0}
_LINE = re.compile(r"(<=|>=|<|>|=)([-+]?)(\d+\.?\d*|\.\d+)(%?)")


class Line(NamedTuple):
    """One line of a criterion, such as `<=+10%`: with a sign or a percentage it is relative to an
    earlier value.
    """

    sign: str
    bound: float
    is_relative: bool = False
    is_less: bool = False
    is_percentage: bool = False

    def holds(self, value: float, before: float | None) -> bool | None:
        """Whether the value is as wanted; None where the value it is relative to is missing."""
        if not self.is_relative:
            return _SIGNS[self.sign](value, self.bound)
        if before is None:
            return None
        by = -self.bound if self.is_less else self.bound
        target = before * (100.0 + by) / 100.0 if self.is_percentage else before + by
        return _SIGNS[self.sign](value, target)


Sets = Sequence[Sequence[Line]]
"""Sets of lines: one set must hold, with all of its lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What one indicator is held to. Without `passing` it is shown and not scored."""

    sli: str
    weight: float = 1.0
    is_key: bool = False
    passing: Sets = ()
    warning: Sets = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """A slo.yaml. `passing` and `warning` are percentages of the score that can be reached."""

    objectives: Sequence[Objective]
    passing: float | None = None
    warning: float | None = None
    filters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the objectives come to. `result` is None where it can't be told; `score` is in percent.
    `text` says what it rests on.
    """

    result: Literal["pass", "warning", "fail"] | None
    text: str
    score: float | None = None


def objectives(document: Any) -> Objectives:
    """What a slo.yaml says.

    Raises:
        PermanentError: Keptn could not use it either; the message says why.
    """
    slo = as_map(document)
    total = as_map(slo.get("total_score"))
    filters = as_map(slo.get("filter")).items()
    return Objectives(
        objectives=[
            _objective(as_map(each)) for each in _list(slo.get("objectives"), "objectives")
        ],
        passing=_percentage(total.get("pass"), "total_score, pass"),
        warning=_percentage(total.get("warning"), "total_score, warning"),
        filters={name: as_text(value) for name, value in filters},
    )


def _objective(written: Mapping[str, Any]) -> Objective:
    sli = as_text(written.get("sli"))
    if not sli:
        raise PermanentError("an objective has no sli")
    weight = written.get("weight") or 1
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
        raise PermanentError(f"{sli}: weight must be a number")
    return Objective(
        sli=sli,
        weight=float(weight),
        is_key=written.get("key_sli") is True,
        passing=_sets(written.get("pass"), f"{sli}, pass"),
        warning=_sets(written.get("warning"), f"{sli}, warning"),
    )


def _sets(written: Any, where: str) -> Sets:
    return [
        [_line(as_text(line), where) for line in _list(as_map(each).get("criteria"), where)]
        for each in _list(written, where)
    ]


def _list(written: Any, where: str) -> Sequence[Any]:
    if written is None:
        return ()
    if not isinstance(written, list):
        raise PermanentError(f"{where} must be a list")
    return cast("Sequence[Any]", written)


def _line(written: str, where: str) -> Line:
    read = _LINE.fullmatch(written.replace(" ", ""))
    if not read:
        raise PermanentError(f"{where}: {written!r} is no criterion, such as <=0.05 or <=+10%")
    sign, by, bound, percent = read.groups()
    is_relative = bool(by or percent)
    return Line(sign, float(bound), is_relative, by == "-", bool(percent))


def _percentage(written: Any, where: str) -> float | None:
    text = as_text(written)
    if not text:
        return None
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise PermanentError(f"{where}: {text!r} is no percentage, such as 90%")
    return found


def evaluated(
    slo: Objectives, values: Mapping[str, float | str], before: Mapping[str, float] | None
) -> Evaluation:
    """What the objectives come to. `values` has for each indicator its value, or in words why there
    is none; `before` has what relative lines compare with. Where there is nothing from before at
    all, they hold, as for Keptn's first evaluation.
    """
    if not slo.objectives:
        return Evaluation("fail", f"{FILE} has no objectives")
    scored = [each for each in slo.objectives if each.passing]
    if not scored:
        return Evaluation(None, f"no objective of {FILE} has criteria to pass")
    if slo.passing is None:
        return Evaluation(None, f"{FILE} has no total_score to pass")
    found = [(each, _status(each, values.get(each.sli), before)) for each in slo.objectives]
    if lacking := [each.sli for each, status in found if status is None]:
        return Evaluation(None, _lack(lacking[0], values))
    total = sum(_SHARES[status or "fail"] * each.weight for each, status in found)
    score = 100.0 * total / sum(each.weight for each in scored)
    key_failed = any(each.is_key and status == "fail" for each, status in found)
    result = _result(slo, score, key_failed=key_failed)
    shown = [_shown(each.sli, status, values) for each, status in found]
    return Evaluation(result, f"{result} with a score of {score:.4g}: {', '.join(shown)}", score)


def _result(
    slo: Objectives, score: float, *, key_failed: bool
) -> Literal["pass", "warning", "fail"]:
    if key_failed or slo.passing is None:
        return "fail"
    if score >= slo.passing:
        return "pass"
    return "warning" if slo.warning is not None and score >= slo.warning else "fail"


def _status(
    objective: Objective, value: float | str | None, before: Mapping[str, float] | None
) -> str | None:
    if not objective.passing:
        return "info"
    if not isinstance(value, float):
        return None
    passes = _hold(objective.passing, value, objective.sli, before)
    if passes:
        return "pass"
    warns = _hold(objective.warning, value, objective.sli, before) if objective.warning else False
    if passes is None or warns is None:
        return None
    return "warning" if warns else "fail"


def _hold(sets: Sets, value: float, sli: str, before: Mapping[str, float] | None) -> bool | None:
    """Whether one of the sets holds; None where that hangs on what is missing."""
    said = [_all(lines, value, sli, before) for lines in sets]
    if any(said):
        return True
    return None if None in said else False


def _all(
    lines: Sequence[Line], value: float, sli: str, before: Mapping[str, float] | None
) -> bool | None:
    if before is None:
        return all(line.is_relative or line.holds(value, None) for line in lines)
    said = [line.holds(value, before.get(sli)) for line in lines]
    if False in said:
        return False
    return None if None in said else True


def _lack(sli: str, values: Mapping[str, float | str]) -> str:
    value = values.get(sli)
    if isinstance(value, float):
        return f"{sli} is {value:.6g}, and what it was before the action is not known"
    return f"no value of {sli}: {value or 'it was not asked for'}"


def _shown(sli: str, status: str | None, values: Mapping[str, float | str]) -> str:
    value = values.get(sli)
    number = f"{value:.6g}" if isinstance(value, float) else "no value"
    return f"{sli} {number} {status}"
