"""The channels file: which channels there are, and where their secrets lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.guardrails import mistakes
from keptn_remedy.guardrails.values import Many
from keptn_remedy.support.reading import Document

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_TYPES = ("slack", "teams", "pagerduty", "webhook", "alertmanager")


class ChannelsError(Exception):
    """The channels file is invalid. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def _path(written: Any) -> Any:
    if not isinstance(written, str) or not written or "://" in written:
        raise ValueError("must be the path of a file that holds it")
    return Path(written)


SecretPath = Annotated[
    Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})
]
Address = Annotated[HttpUrl, WithJsonSchema({"type": "string", "pattern": "^https?://"})]


class _ChannelEntry(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    at_most: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Messages a minute. When there are more, they become one summary."""


class SlackEntry(_ChannelEntry):
    """An incoming webhook of Slack, Mattermost or Rocket.Chat."""

    type: Literal["slack"]
    url_file: SecretPath
    """File with the webhook's address, which is the secret."""


class TeamsEntry(_ChannelEntry):
    """The webhook of a Microsoft Teams workflow."""

    type: Literal["teams"]
    url_file: SecretPath
    """File with the webhook's address, which is the secret."""


class PagerDutyEntry(_ChannelEntry):
    """A service of PagerDuty (Events API v2)."""

    type: Literal["pagerduty"]
    key_file: SecretPath
    """File with the integration key."""
    url: Address = HttpUrl(PAGERDUTY)
    """Where events are posted."""


class WebhookEntry(_ChannelEntry):
    """An address that takes CloudEvents."""

    type: Literal["webhook"]
    url: Address | None = None
    """The address."""
    url_file: SecretPath | None = None
    """File with the address, where it is a secret."""
    secret_file: SecretPath | None = None
    """File with the secret that signs each event."""
    token_file: SecretPath | None = None
    """File with a bearer token."""

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url or url_file")
        return self


class AlertmanagerEntry(_ChannelEntry):
    """One Alertmanager, or all peers of a cluster of them."""

    type: Literal["alertmanager"]
    urls: Annotated[tuple[Address, ...], Field(min_length=1, max_length=20), Many]
    """Their addresses, without `/api/v2/alerts`."""
    token_file: SecretPath | None = None
    """File with a bearer token."""


Entry = Annotated[
    SlackEntry | TeamsEntry | PagerDutyEntry | WebhookEntry | AlertmanagerEntry,
    Field(discriminator="type"),
]
ChannelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class ChannelsFile(BaseModel):
    """Where people are told what needs them (REMEDY_CHANNELS)."""

    model_config = _ChannelEntry.model_config

    version: Literal[1]
    """The version of this format."""
    channels: Annotated[dict[ChannelName, Entry], Field(min_length=1, max_length=100)]
    """The channels, by the name that `notify` and `REMEDY_NOTIFY` use."""

    @classmethod
    def load(cls, text: str) -> ChannelsFile:
        """Parse the text of a channels file.

        Raises:
            ChannelsError: with one line per mistake.
        """
        return mistakes.load(text, cls, ChannelsError, _lines)


_BY_TYPE: Mapping[str, type[_ChannelEntry]] = dict(
    zip(
        _TYPES,
        (SlackEntry, TeamsEntry, PagerDutyEntry, WebhookEntry, AlertmanagerEntry),
        strict=True,
    )
)


def _lines(document: Document, error: ValidationError) -> list[str]:
    errors = list(map(_in_the_file, error.errors()))
    return mistakes.lines_of(document, errors, _keys(document.value))


def _in_the_file(error: Any) -> Any:
    """The error with the place in the file: pydantic puts the type of a channel after its name.
    What may be a secret in the wrong place is not repeated.
    """
    place = error["loc"]
    if place[:1] == ("channels",) and place[2:3] and place[2] in _TYPES:
        place = (*place[:2], *place[3:])
    is_shown = not isinstance(error["input"], str) or place[-1] in ("type", "[key]")
    return {**error, "loc": place, "input": error["input"] if is_shown else [error["input"]]}


def _keys(written: Any) -> Mapping[tuple[str, ...], frozenset[str]]:
    """The keys that each map of this file may have."""
    found: dict[tuple[str, ...], frozenset[str]] = {(): frozenset(ChannelsFile.model_fields)}
    channels = written.get("channels")
    for name, entry in channels.items() if is_object(channels) else ():
        model = _BY_TYPE.get(str(entry.get("type")) if is_object(entry) else "")
        if model:
            found["channels", name] = frozenset(model.model_fields)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = ChannelsFile.model_json_schema()
    return {"$schema": GenerateJsonSchema.schema_dialect, **made}
