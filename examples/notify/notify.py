"""A notification: a chat is told how each remediation ended. Keptn gets no answer."""

from pydantic import BaseModel, HttpUrl

from keptn_remedy import Action, ActionSettings, Context, Outcome


class Notify(Action):
    """Tell a chat how remediations ended."""

    name = "notify"
    subscriptions = ("sh.keptn.event.*.remediation.finished",)

    class Settings(ActionSettings):
        """NOTIFY_WEBHOOK_URL, read at start-up; without it the action is off."""

        webhook_url: HttpUrl

    class Value(BaseModel):
        """What is read of the event's `data`."""

        project: str
        stage: str
        service: str
        result: str
        message: str = ""

    async def run(self, context: Context, value: Value) -> Outcome:
        where = f"{value.project}/{value.stage}/{value.service}"
        text = f"Remediation of {where}: {value.result}. {value.message}".strip()
        async with context.http.post(str(self.settings.webhook_url), json={"text": text}):
            return Outcome.passed(f"told: {text}")
