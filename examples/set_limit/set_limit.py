"""A whole planned action: it sets request limits of a gateway, checks them, and puts them back."""

from typing import Any, cast

from pydantic import HttpUrl

from keptn_remedy import (
    ActionSettings,
    Change,
    Context,
    Denied,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
)

PREFIX = "route:"


class SetLimit(PlannedAction):
    """Set the request limits of gateway routes."""

    name = "set-limit"
    aliases = ("rate-limit",)

    class Settings(ActionSettings):
        """SET_LIMIT_GATEWAY_URL, read at start-up; without it the action is off."""

        gateway_url: HttpUrl

    Value = dict[str, int]
    """Limits by route, in requests a second."""

    async def plan(self, context: Context, value: dict[str, int]) -> Plan:
        """Only read: both sides of each change are absolute numbers."""
        changes: list[Change] = []
        for route, limit in value.items():
            found = await self._read(context, PREFIX + route)
            changes.append(Change(PREFIX + route, "limit", found["limit"], limit))
        return Plan(tuple(changes))

    async def apply(self, context: Context, plan: Plan) -> None:
        """Repeatable: after a crash the same plan is applied again."""
        for change in plan.changes:
            found = await self._read(context, change.target)
            if found["limit"] != change.after:
                await self._write(context, change.target, change.after, found["version"])

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        for change in plan.changes:
            found = await self._read(context, change.target)
            if found["limit"] != change.after:
                return Outcome.failed(f"somebody else set {change.target} to {found['limit']}")
        return Outcome.passed(f"limits set: {plan}")

    async def undo(self, context: Context, plan: Plan) -> str | None:
        """Put back what is still as the plan left it, and leave everything else alone."""
        put_back, others = 0, list[str]()
        for change in plan.changes:
            found = await self._read(context, change.target)
            if found["limit"] == change.after:
                await self._write(context, change.target, change.before, found["version"])
                put_back += 1
            elif found["limit"] != change.before:
                said = f"{change.target} is {found['limit']}, and {change.after} was expected"
                others.append(said)
        if others and not put_back:
            raise Denied(f"{'; '.join(others)}: left alone")
        if others:
            return f"undone, but left alone: {'; '.join(others)}"
        return None if put_back else "it is as it was before"

    async def _read(self, context: Context, target: str) -> dict[str, Any]:
        async with context.http.get(self._url(target)) as answer:
            found = await answer.json()
        if not isinstance(found, dict) or not {"limit", "version"} <= found.keys():
            raise PermanentError(f"{self._url(target)} is not a route of the gateway")
        return cast("dict[str, Any]", found)

    async def _write(self, context: Context, target: str, limit: int, version: str) -> None:
        # The gateway answers 412 where somebody else was quicker: then nothing is overwritten.
        headers = {"If-Match": version}
        async with context.http.put(self._url(target), json={"limit": limit}, headers=headers):
            context.log.info("limit set", target=target, limit=limit)

    def _url(self, target: str) -> str:
        return f"{self.settings.gateway_url}routes/{target.removeprefix(PREFIX)}"
