"""The journal of a running service, read and told by way of its ops port."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from keptn_remedy.cli import remote_values as values
from keptn_remedy.cli.server import RemoteService, ServerError, of_execution
from keptn_remedy.events import event_type
from keptn_remedy.journal import (
    Criteria,
    Cursor,
    OwedReport,
    Pause,
    Record,
    Since,
    State,
    Verdict,
    Waiting,
    WholeRecord,
)

PAGE = 500


class RemoteJournal:
    """What commands need of a journal. Every method raises `ServerError` where the service can't be
    asked or refuses.
    """

    def __init__(self, server: RemoteService) -> None:
        self._server = server
        self._types: dict[str, str] = {}
        self._open_ids: dict[int, str] = {}

    async def search(
        self, criteria: Criteria, *, before: Cursor | None = None, limit: int = 100
    ) -> list[Record]:
        found: list[Record] = []
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            page = await self._page(
                "/api/executions", before=before, limit=size, **_query(criteria)
            )
            found += page
            if len(page) < size:
                break
            before = page[-1].cursor
        return found

    async def ids_from(self, prefix: str, limit: int) -> list[str]:
        found = await self._server.get("/api/ids", prefix=prefix, limit=limit)
        return self._server.understood(values.ids, found)

    async def event_types(self, ids: Collection[str]) -> Mapping[str, str]:
        return {each: self._types[each] for each in ids if each in self._types}

    async def waiting(self) -> Waiting:
        found = await self._server.get("/api/waiting")
        return self._server.understood(values.waiting, found)

    async def record(self, execution_id: str) -> WholeRecord | None:
        try:
            found = await self._server.get(of_execution(execution_id))
        except ServerError as error:
            if error.status == 404:
                return None
            raise
        return self._server.understood(values.whole_record, found)

    async def records_after(self, after: Cursor | None, limit: int) -> list[Record]:
        return await self._page("/api/feed", after=after, limit=min(limit, PAGE))

    async def changes(
        self, after: Since | None, limit: int, *, from_start: bool = False
    ) -> tuple[list[Record], Since]:
        """As in `journal.Records`, compared with what is open now."""
        now_open = await self._all_open()
        if after is None:
            newest = await self.search(Criteria(), limit=1)
            last = (newest[0].cursor, newest[0].id) if newest and not from_start else (0, "")
            return [], Since(*last, _states(now_open))
        new = await self.records_after(Cursor(after.newest), limit)
        moved = [r for r in now_open if after.open.get(r.cursor, r.state) != r.state]
        still_open = {record.cursor for record in now_open}
        ended = [await self.record(self._open_ids[c]) for c in after.open if c not in still_open]
        moved += [record for record in ended if record]
        newest_one = new[-1] if new else None
        last = (newest_one.cursor, newest_one.id) if newest_one else (after.newest, after.newest_id)
        known = _states([r for r in [*now_open, *new] if r.state != "finished"])
        return [*moved, *new], Since(*last, {c: s for c, s in known.items() if c <= last[0]})

    async def _all_open(self) -> list[Record]:
        states: tuple[State, ...] = ("accepted", "started")
        found = [
            r for state in states for r in await self.search(Criteria(state=state), limit=9999)
        ]
        self._open_ids |= {record.cursor: record.id for record in found}
        return found

    async def owed_reports(self, limit: int) -> list[OwedReport]:
        found = await self._server.get("/api/reports", limit=min(limit, PAGE))
        return self._server.understood(values.owed_reports, found)

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None:
        word = "approve" if verdict == "approved" else "deny"
        asked = _iso(asked_at) if asked_at is not None else None
        return await self._refusal(execution_id, word, _signed(reason, by), asked_at=asked)

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None:
        return await self._refusal(execution_id, "undo", _signed(reason, by))

    async def pause(self, by: str, reason: str) -> Pause:
        said = await self._server.order("/api/pause", reason=_signed(reason, by))
        found = self._server.understood(values.pause, said)
        if found is None:
            raise ServerError("the service says that it is not paused")
        return found

    async def resume(self) -> Pause | None:
        ended = await self.paused()
        await self._server.order("/api/resume")
        return ended

    async def paused(self) -> Pause | None:
        return self._server.understood(values.pause, await self._server.get("/api/pause"))

    async def forgive(self, target: str | None, by: str) -> int:
        found = await self._server.order(
            "/api/targets/resume", target=target, reason=_signed(None, by)
        )
        return self._server.understood(values.targets, found)

    async def resend(self, execution_id: str | None = None) -> list[int]:
        found = await self._server.order("/api/reports/resend", execution=execution_id)
        return self._server.understood(values.handles, found)

    async def all_heard(self) -> bool:
        return True  # the service gave the order to itself

    def is_served(self) -> bool:
        return True  # it answers, or the command ends

    async def close(self) -> None:
        await self._server.close()

    async def _page(self, path: str, **query: object) -> list[Record]:
        page = await self._server.get(path, **query)
        found = self._server.understood(values.executions, page)
        for each in found:
            if task := each.task:
                is_type = task.startswith("sh.keptn.")
                self._types[each.id] = task if is_type else event_type(task, "triggered")
        return list(map(values.record, found))

    async def _refusal(
        self, execution_id: str, word: str, reason: str, **body: object
    ) -> str | None:
        """Why the order was refused; None if it was not."""
        try:
            await self._server.order(f"{of_execution(execution_id)}/{word}", reason=reason, **body)
        except ServerError as error:
            if error.status in (404, 409):
                return str(error)
            raise
        return None


def _query(criteria: Criteria) -> dict[str, object]:
    found: dict[str, object] = {
        "state": criteria.state,
        "waiting": "approval" if criteria.asking else None,
        "since": None if criteria.since is None else _iso(criteria.since),
    }
    names = ("project", "stage", "service", "action", "result", "context")
    return {**found, **{name: getattr(criteria, name) for name in names}}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _signed(reason: str | None, by: str | None) -> str:
    """The service knows only an address; who orders is added to the reason."""
    return " ".join(filter(None, (reason, f"({by})" if by else "")))


def _states(records: Collection[Record]) -> dict[int, State]:
    return {record.cursor: record.state for record in records}
