"""Asks Prometheus for the indicators of a slo.yaml, and says what its objectives come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keptn_remedy.action import PermanentError
from keptn_remedy.standalone import slo
from keptn_remedy.standalone.ladder import Finding
from keptn_remedy.standalone.prometheus import NoAnswer, Prometheus
from keptn_remedy.standalone.promql import selectors
from keptn_remedy.standalone.rules import Criterion
from keptn_remedy.standalone.sli import within


async def look(
    prometheus: Prometheus,
    max_age: float,
    criterion: Criterion,
    seconds: float,
    before: Mapping[str, float] | None,
) -> Finding:
    """What the objectives come to over so many seconds, with values from before the act. None of
    those at all: as Keptn's first evaluation.

    Raises:
        NoAnswer: there are no objectives, or no indicator can be asked for.
    """
    stored: Mapping[str, Any] = criterion.slo or {"why": f"no {slo.FILE} was looked for"}
    if why := stored.get("why"):
        raise NoAnswer(str(why), is_mistake=True)
    try:
        read = slo.objectives(stored["document"])
    except PermanentError as error:
        raise NoAnswer(str(error), is_mistake=True) from None
    values: dict[str, float | str] = {}
    for each in read.objectives:
        if each.sli not in values:
            query = str(stored["queries"].get(each.sli) or "")
            values[each.sli] = await _value(prometheus, max_age, each.sli, within(query, seconds))
    found = slo.evaluated(read, values, before)
    good = None if found.result is None else found.result != "fail"
    measured = {sli: value for sli, value in values.items() if isinstance(value, float)}
    return Finding(good, found.text, found.score, values=measured)


async def _value(prometheus: Prometheus, max_age: float, sli: str, query: str) -> float | str:
    """The finite, fresh number of an indicator; or in words, why there is none."""
    if not query:
        return f"sli.yaml has no indicator {sli}"
    series = selectors(query)
    if not series:
        return f"{query[:200]} measures nothing"
    try:
        value = await prometheus.number(query)
        await prometheus.see_that_it_is_fresh(series, max_age, {})
    except NoAnswer as error:
        return str(error)
    return value
