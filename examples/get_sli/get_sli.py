"""An SLI provider: it asks a metrics service for the indicators that lighthouse evaluates."""

from typing import Any

from pydantic import BaseModel, HttpUrl

from keptn_remedy import Action, ActionSettings, Context, Outcome


class GetSli(Action):
    """Query the metrics service for the SLIs of an evaluation."""

    task = "get-sli"

    class Settings(ActionSettings):
        """GET_SLI_METRICS_URL, read at start-up; without it the action is off."""

        metrics_url: HttpUrl

    class Value(BaseModel):
        """What lighthouse sends under `data.get-sli`."""

        start: str
        end: str
        indicators: list[str] = []

    def accepts(self, trigger: Any) -> bool:
        return bool(trigger.value and trigger.value.get("sliProvider") == "metrics")

    async def run(self, context: Context, value: Value) -> Outcome:
        found = [await self._measured(context, value, name) for name in value.indicators]
        told = {"start": value.start, "end": value.end, "indicatorValues": found}
        return Outcome.passed(f"{len(found)} indicators", **told)

    async def _measured(self, context: Context, value: Value, name: str) -> dict[str, Any]:
        period = {"start": value.start, "end": value.end}
        async with context.http.get(f"{self.settings.metrics_url}{name}", params=period) as answer:
            return {"metric": name, "value": float(await answer.text()), "success": True}
