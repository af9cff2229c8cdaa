from pydantic import BaseModel, HttpUrl

from keptn_remedy import Action, ActionSettings, Context, Outcome


class PurgeCache(Action):
    """Purge a CDN zone when the frontend serves stale pages."""

    name = "purge-cache"

    class Settings(ActionSettings):
        """PURGE_CACHE_CDN_URL, read at start-up; without it the action is off."""

        cdn_url: HttpUrl

    class Value(BaseModel):
        """The `value:` of remediation.yaml."""

        zone: str

    async def run(self, context: Context, value: Value) -> Outcome:
        async with context.http.post(f"{self.settings.cdn_url}purge", json={"zone": value.zone}):
            return Outcome.passed(f"purged {value.zone}")
