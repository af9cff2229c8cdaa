"""Prometheus' API as the judge reads it: what is no finite fresh number is no answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from aiohttp import ClientError, ClientSession, ClientTimeout

from keptn_remedy.events.cloud_event import is_array, is_object
from keptn_remedy.http_client import in_words
from keptn_remedy.standalone.peer_clock import ahead, answered_at

ASK_SECONDS = 10.0
# After its start, Prometheus answers with old values until it has scraped.
DISTRUST_SECONDS = 30.0
_SHOWN = 200


class NoAnswer(Exception):
    """Prometheus gave no answer that can be used; the message says why. `is_mistake`: the query is
    at fault, and its author can mend it.
    """

    def __init__(self, why: str, *, is_mistake: bool = False) -> None:
        super().__init__(why)
        self.is_mistake = is_mistake


class Rules(NamedTuple):
    """Alerting rules as Prometheus lists them. `ahead`: by so many seconds our clock is ahead of
    the one that it noted their evaluations by.
    """

    listed: Sequence[Mapping[str, Any]]
    ahead: float


class _Answer(NamedTuple):
    """What is answered, and the headers that it came with."""

    data: Mapping[str, Any]
    headers: Mapping[str, str]


class Sample(NamedTuple):
    """One element of an answer."""

    labels: Mapping[str, str]
    value: float


def is_of(series: Mapping[str, str], alert: Mapping[str, str]) -> bool:
    """Whether a series can be the alert's: they agree in every label that both have. The alert may
    have more, which Prometheus adds when it sends it.
    """
    return all(alert.get(name, value) == value for name, value in series.items())


def _shown(warned: Any) -> str:
    return "; ".join(map(str, warned if is_array(warned) else [warned]))[:_SHOWN]


class Prometheus:
    """Asks one server. `now` is the Unix time in seconds; with `at`, it is asked what it would have
    answered at that time.
    """

    def __init__(
        self,
        http: ClientSession,
        url: str,
        now: Callable[[], float],
        token_file: Path | None = None,
        at: float | None = None,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._now = now
        self._token_file = token_file
        self._at = at

    def at(self, at: float) -> Prometheus:
        """The same server, asked what it would have answered at that Unix time."""
        return Prometheus(self._http, self._url, self._now, self._token_file, at)

    async def samples(self, query: str) -> Sequence[Sample]:
        """The elements of an instant query, none where there are none. A scalar is one element.

        Raises:
            NoAnswer: it can't be asked, or doesn't take the query.
        """
        when = {} if self._at is None else {"time": f"{self._at:.3f}"}
        data = (await self._ask("query", {"query": query, **when})).data
        kind: Any = data.get("resultType")
        found: Any = data.get("result")
        try:
            if kind == "scalar":
                return [Sample({}, float(found[1]))]
            if kind == "vector":
                return [Sample(each["metric"], float(each["value"][1])) for each in found]
        except (KeyError, IndexError, TypeError, ValueError):
            raise NoAnswer("the answer of Prometheus can't be read") from None
        raise NoAnswer(f"it asks for a {kind}, where one number is meant", is_mistake=True)

    async def number(self, query: str) -> float:
        """The one finite number that an instant query answers.

        Raises:
            NoAnswer: as `samples`; or there is none, or there are several.
        """
        found = await self.samples(query)
        if not found:
            raise NoAnswer("no data")
        if len(found) > 1:
            raise NoAnswer(f"{len(found)} series where one number is meant", is_mistake=True)
        value = found[0].value
        if not math.isfinite(value):
            raise NoAnswer(f"no data: the answer is {value}")
        return value

    async def see_that_it_is_fresh(
        self, selectors: Sequence[str], max_age: float, labels: Mapping[str, str]
    ) -> None:
        """See that the newest sample of each of these bare selectors is young enough. Series that
        can't belong to `labels` don't count: those of other targets live on when one dies.

        Raises:
            NoAnswer: it isn't, or can't be asked.
        """
        for selector in selectors:
            # The server's own clock on both sides: ours may differ.
            ages = await self.samples(f"time() - timestamp({selector})")
            finite = [
                each.value
                for each in ages
                if math.isfinite(each.value) and is_of(each.labels, labels)
            ]
            if not finite:
                raise NoAnswer(f"no data for {selector[:_SHOWN]}")
            if min(finite) > max_age:
                raise NoAnswer(
                    f"the newest sample of {selector[:_SHOWN]} is {min(finite):.0f} s old,"
                    f" more than {max_age:g} s"
                )

    async def see_that_it_has_run(self) -> None:
        """See that it has been up long enough to have scraped.

        Raises:
            NoAnswer: it hasn't, or can't be asked.
        """
        if self._at is not None:
            return
        found = await self._ask("status/runtimeinfo", {})
        try:
            began = datetime.fromisoformat(str(found.data["startTime"])).timestamp()
        except (KeyError, ValueError):
            raise NoAnswer("the answer of Prometheus can't be read") from None
        if answered_at(found.headers, self._now()) - began < DISTRUST_SECONDS:
            raise NoAnswer(
                "Prometheus has just started: it may answer with old values for"
                f" {DISTRUST_SECONDS:g} s"
            )

    async def alert_rules(self, name: str | None = None) -> Rules:
        """The alerting rules of that name, or all.

        Raises:
            NoAnswer: it can't be asked.
        """
        asked_at = self._now()
        found = await self._ask("rules", {"type": "alert"})
        try:
            listed = [
                rule
                for group in found.data["groups"]
                for rule in group["rules"]
                if name is None or rule.get("name") == name
            ]
        except (KeyError, TypeError, AttributeError):
            raise NoAnswer("the answer of Prometheus can't be read") from None
        return Rules(listed, ahead(found.headers, asked_at))

    async def _ask(self, what: str, parameters: Mapping[str, str]) -> _Answer:
        try:
            async with self._http.get(
                f"{self._url}/api/v1/{what}",
                params=parameters,
                headers=self._headers(),
                timeout=ClientTimeout(ASK_SECONDS),
                raise_for_status=False,
            ) as answer:
                if answer.content_type != "application/json":
                    raise NoAnswer(
                        f"Prometheus can't be asked: {answer.status} {answer.content_type},"
                        " which is no answer of its API"
                    )
                body = await answer.json()
        except (ClientError, TimeoutError, ValueError, OSError) as error:
            raise NoAnswer(f"Prometheus can't be asked: {in_words(error)}") from None
        if is_object(body) and body.get("status") == "success":
            if warned := body.get("warnings"):
                # Such as a store that did not answer: what is missing would read as gone.
                raise NoAnswer(f"Prometheus warns: {_shown(warned)}")
            found = body.get("data")
            if isinstance(found, dict):
                return _Answer(cast("dict[str, Any]", found), answer.headers)
        said = str(cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else "")
        raise NoAnswer(
            f"Prometheus answers {answer.status}: {said[:_SHOWN]}", is_mistake=answer.status == 400
        )

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
