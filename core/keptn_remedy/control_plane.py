"""Asking Keptn what it counted, through the API that the distributor's sidecar proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from yarl import URL

from keptn_remedy.events import TRIGGERED, Report

ASK_SECONDS = 5.0
MAX_PAGES = 20
T = TypeVar("T")


def _empty_for_null(value: Any) -> Any:
    # Go writes an empty list, and an absent struct, as null.
    return () if value is None else value


class _Answer(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class _TaskEvent(_Answer):
    type: str = Field(default="", alias="eventType")
    source: str = ""


class _Task(_Answer):
    triggered_id: str = Field(default="", alias="triggeredID")
    events: Annotated[tuple[_TaskEvent, ...], BeforeValidator(_empty_for_null)] = ()


class _Status(_Answer):
    previous: Annotated[tuple[_Task, ...], BeforeValidator(_empty_for_null)] = Field(
        default=(), alias="previousTasks"
    )
    current: Annotated[_Task, BeforeValidator(lambda task: task or {})] = Field(
        default=_Task(), alias="currentTask"
    )


class _Sequence(_Answer):
    status: Annotated[_Status, BeforeValidator(lambda status: status or {})] = _Status()


class _Event(_Answer):
    id: str = ""


class _Page(_Answer, Generic[T]):
    # Without its list it is some other answer, of a proxy for instance.
    next: Annotated[str, BeforeValidator(lambda key: key or "")] = Field(
        default="", alias="nextPageKey"
    )
    items: tuple[T, ...]


class _Sequences(_Page[_Sequence]):
    # In some releases the Go field has no JSON tag, and goes by its own name.
    items: Annotated[tuple[_Sequence, ...], BeforeValidator(_empty_for_null)] = Field(
        validation_alias=AliasChoices("sequenceExecutions", "SequenceExecutions")
    )


class _Events(_Page[_Event]):
    items: Annotated[tuple[_Event, ...], BeforeValidator(_empty_for_null)] = Field(alias="events")


class ControlPlane:
    """Keptn's control plane as seen by an action provider that sends as `source`."""

    def __init__(self, api_url: str, source: str, token: str | None = None) -> None:
        self._api = URL(api_url)
        self._source = source
        self._headers = {"x-token": token} if token else {}
        self._session: ClientSession | None = None

    async def counted(self, report: Report) -> bool:
        """Whether Keptn has the report, or its task has ended; False where that can't be learnt.

        Keptn counts a report twice when it is sent twice (contract §4.2), so this is asked before
        a report is repeated whose delivery is in doubt.
        """
        event = orjson.loads(report.body)
        triggered_id, data = event.get("triggeredid"), event["data"]
        query = {"project": data["project"], "keptnContext": event["shkeptncontext"]}
        sequences = await self._pages("controlPlane/v1/sequence-execution", query, _Sequences)
        if sequences is not None:
            return any(self._has(s.status, triggered_id, report) for s in sequences)
        if report.kind != "finished":
            return False
        query = {"project": data["project"], "stage": data["stage"], "eventID": triggered_id}
        listed = await self._pages(f"controlPlane/v1/event/triggered/{TRIGGERED}", query, _Events)
        return listed is not None and not any(e.id == triggered_id for e in listed)

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _has(self, status: _Status, triggered_id: str, report: Report) -> bool:
        if any(task.triggered_id == triggered_id for task in status.previous):
            return True
        current = status.current
        return current.triggered_id == triggered_id and any(
            event.source == self._source and event.type == report.type for event in current.events
        )

    async def _pages(
        self, path: str, query: Mapping[str, str], model: type[_Page[T]]
    ) -> list[T] | None:
        """All items of a paged list; None unless each page came with 200 and made sense."""
        found: list[T] = []
        next_page: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            body = await self._get(path, {**query, **next_page})
            try:
                page = model.model_validate_json(body or b"")
            except ValidationError:
                return None
            found += page.items
            if page.next in ("", "0"):
                return found
            next_page = {"nextPageKey": page.next}
        return None

    async def _get(self, path: str, query: Mapping[str, str]) -> bytes | None:
        """The body of an answer with 200."""
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=ASK_SECONDS), cookie_jar=DummyCookieJar()
            )
        url = (self._api / path).with_query(query)
        try:
            async with self._session.get(
                url, headers=self._headers, allow_redirects=False
            ) as answer:
                return await answer.read() if answer.status == 200 else None
        except (ClientError, TimeoutError, OSError):
            return None
