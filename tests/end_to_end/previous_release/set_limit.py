import os

from keptn_remedy import Change, Context, Denied, Outcome, Plan, PlannedAction


class SetLimit(PlannedAction):
    """Set the request limit of a gateway route."""

    name = "set-limit"
    Value = dict[str, int]

    async def plan(self, context: Context, value: dict[str, int]) -> Plan:
        wanted = {f"route:{route}": limit for route, limit in value.items()}
        changes = [
            Change(target, "limit", await self._limit(context, target), limit)
            for target, limit in wanted.items()
        ]
        return Plan(tuple(changes))

    async def apply(self, context: Context, plan: Plan) -> None:
        for change in plan.changes:
            await self._set_limit(context, change.target, change.after)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        for change in plan.changes:
            if await self._limit(context, change.target) != change.after:
                return Outcome.failed(f"somebody else set {change.target}")
        return Outcome.passed(f"limits set: {plan}")

    async def undo(self, context: Context, plan: Plan) -> str | None:
        put_back, others = 0, list[str]()
        for change in plan.changes:
            found = await self._limit(context, change.target)
            if found == change.after:
                await self._set_limit(context, change.target, change.before)
                put_back += 1
            elif found != change.before:
                others.append(f"{change.target} is {found}, and {change.after} was expected")
        if others and not put_back:
            raise Denied(f"{'; '.join(others)}: left alone")
        if others:
            return f"undone, but left alone: {'; '.join(others)}"
        return None if put_back else "it is as it was before"

    # What the document leaves out.

    async def _limit(self, context: Context, target: str) -> int:
        async with context.http.get(f"{GATEWAY}{target}") as answer:
            return int((await answer.json())["limit"])

    async def _set_limit(self, context: Context, target: str, limit: int) -> None:
        async with context.http.put(f"{GATEWAY}{target}", json={"limit": limit}):
            pass


GATEWAY = os.environ.get("GATEWAY_URL", "")
