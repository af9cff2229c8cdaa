"""toggle-feature: switch feature flags on or off, in Unleash or in a flagd file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeGuard

from aiohttp import ClientSession
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    field_validator,
    model_validator,
)

from keptn_remedy import (
    ActionSettings,
    Change,
    Context,
    Denied,
    Finding,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
)
from keptn_remedy_actions.flag_backends import Flag, FlagStore, Switch, Wish, unleash_rights
from keptn_remedy_actions.flag_backends.flagd import FlagdFile
from keptn_remedy_actions.flag_backends.unleash import OnWithoutStrategy, Unleash
from keptn_remedy_actions.flag_backends.unleash_api import UnleashApi

_ON = ("on", "true", "yes", "enabled", "1")
_OFF = ("off", "false", "no", "disabled", "0")
_EXAMPLE = '{"PromotionCampaign": "off"}'
# An error, not a note: it may be a misspelt flag, which would not be switched.
_FOREIGN = "if another action left it there, set REMEDY_VALUE_SOURCE=remediation.yaml"
# Looking ends this long before the deadline, so that its result can still be reported.
_REPORT_SECONDS = 2.0

Pairs = Mapping[Any, Any]


class ToggleFeatureSettings(ActionSettings):
    """Where the flags are. Unleash is used where both are set."""

    unleash_url: HttpUrl | None = Field(
        default=None, validation_alias=AliasChoices("unleash_url", "unleash_server_url")
    )
    """The address of Unleash, with or without `/api` at its end."""
    unleash_api_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("unleash_api_token", "unleash_token")
    )
    """The token of a service account. To switch off, UPDATE_FEATURE_ENVIRONMENT is enough."""
    unleash_project: str = "default"
    """The Unleash project that holds the flags."""
    unleash_environment: str = ""
    """One for all stages, or `stage=environment` pairs; other stages use their own name."""
    unleash_client_token: SecretStr | None = None
    """Applications' tokens, one for each environment: `verify` then looks at what they see, too."""
    unleash_timeout_seconds: float = Field(default=10.0, gt=0, le=30)
    """Seconds until a request times out."""
    unleash_verify_seconds: float = Field(default=20.0, gt=0, le=240)
    """Seconds that applications may take to see a change; by default they poll every 15 s."""
    unleash_on_without_strategy: OnWithoutStrategy = "refuse"
    """Whether a flag whose strategies are all disabled may go on. Unleash then adds one that gives
    it to everybody; undo removes that one."""
    flagd_file: Path | None = None
    """flagd's JSON file of flags, used where no Unleash is set; its folder must be writable."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        # Manifests render an unset value as an empty one.
        return {name: value for name, value in given.items() if value not in ("", None)}

    @field_validator("unleash_url")
    @classmethod
    def _without_account(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url and (url.username or url.password):
            raise ValueError("must not hold a user or password; the token is UNLEASH_API_TOKEN")
        return url

    @field_validator("unleash_api_token", "unleash_client_token")
    @classmethod
    def _one_line(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value().strip() if token else ""
        if not text.isprintable():
            raise ValueError("must be one line of text")
        return SecretStr(text) if text else None

    @field_validator("unleash_environment")
    @classmethod
    def _pairs(cls, text: str) -> str:
        _environments(text)
        return text

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.unleash_url and not self.unleash_api_token:
            raise ValueError("UNLEASH_URL is set, but UNLEASH_API_TOKEN is not: set it too")
        if self.unleash_api_token and not self.unleash_url:
            raise ValueError("UNLEASH_API_TOKEN is set, but UNLEASH_URL is not: set it too")
        if not self.unleash_url and not self.flagd_file:
            raise ValueError("set UNLEASH_URL and UNLEASH_API_TOKEN, or FLAGD_FILE")
        return self

    @property
    def unleash(self) -> str:
        """The address without the `/api` that old clients need at its end."""
        return str(self.unleash_url).rstrip("/").removesuffix("/api")

    @property
    def client_tokens(self) -> Sequence[str]:
        token = self.unleash_client_token
        return token.get_secret_value().replace(",", " ").split() if token else ()

    def environment(self, stage: str) -> str:
        """The Unleash environment of a Keptn stage."""
        environments = _environments(self.unleash_environment)
        return environments.get(stage) or environments.get("", stage)


def _environments(text: str) -> Mapping[str, str]:
    """Environments by stage; the one for all stages is under ""."""
    if not text or "=" not in text:
        return {"": text.strip()} if text.strip() else {}
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(stage.strip() and environment.strip() for stage, _, environment in pairs):
        raise ValueError("write one environment, or pairs such as prod=production,dev=development")
    return {stage.strip(): environment.strip() for stage, _, environment in pairs}


def _read_wish(sent: Any) -> Any:
    """On or off, in any of the words that YAML and people use for them; or a variant's name."""
    word = str(sent).strip()
    if isinstance(sent, str | int) and word.lower() in _ON + _OFF:
        return word.lower() in _ON
    if isinstance(sent, str) and word and word.isprintable():
        return word
    raise ValueError(f"must be on or off, or the name of a variant; {_FOREIGN}")


def _read_pairs(value: Any) -> Any:
    """Reads `Name:on` of Keptn 0.6 too; several are separated by commas (docs/keptn.md#k38)."""
    if not isinstance(value, str):
        return value
    pairs = [pair.rpartition(":") for pair in value.split(",")]
    if not all(name.strip() and ":" not in name for name, _, _ in pairs):
        raise ValueError('must be a map, or a text such as "PromotionCampaign:off"')
    return _each_once([(name, switch) for name, _, switch in pairs])


def _each_once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    switches = {name.strip(): switch for name, switch in pairs}
    if len(switches) < len(pairs):
        raise ValueError("names a flag more than once")
    for name in switches:
        if not name or not name.isprintable():
            raise ValueError(f"{name!r} is not the name of a flag")
    return switches


def _is_map(value: Any) -> TypeGuard[Pairs]:
    return isinstance(value, Mapping)


def _read_switches(value: Any) -> Any:
    pairs = _read_pairs(value)
    if not _is_map(pairs) or not pairs:
        raise ValueError(f"must map at least one flag to on, off or a variant, such as {_EXAMPLE}")
    return _each_once([(str(name), switch) for name, switch in pairs.items()])


Wished = Annotated[Wish, BeforeValidator(_read_wish, json_schema_input_type=bool | str | int)]


class _Memo(BaseModel):
    """The plan's memo: where the flags are, and how they were."""

    store: Literal["unleash", "flagd"]
    project: str = ""
    environment: str = ""
    file: Path = Path()
    switches: list[Switch] = []


class ToggleFeature(PlannedAction):
    """Switch feature flags on or off; all of them, or none."""

    name = "toggle-feature"
    aliases = ("featuretoggle", "togglefeature", "feature-toggle")
    env_prefix = ""  # UNLEASH_URL is the common name

    Settings: ClassVar[Any] = ToggleFeatureSettings
    Value: ClassVar[Any] = Annotated[
        dict[str, Wished],
        BeforeValidator(_read_switches, json_schema_input_type=dict[str, Wished] | str),
    ]

    settings: ToggleFeatureSettings

    async def plan(self, context: Context, value: Mapping[str, Wish]) -> Plan:
        memo = self._memo(context)
        store = self._store(context, memo)
        # All are read before the first is changed: one that can't be switched stops them all.
        memo.switches = [
            Switch.of(await _found(store, name, wish), wish) for name, wish in value.items()
        ]
        return Plan(
            changes=tuple(change for switch in memo.switches for change in _changes(switch)),
            notes=tuple(note for switch in memo.switches for note in _notes(switch)),
            memo=memo.model_dump(mode="json"),
        )

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        await self._store(context, memo).switch([s for s in memo.switches if s.changes])

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        store = self._store(context, memo)
        remaining = context.seconds_left - _REPORT_SECONDS
        seconds = max(0.0, min(self.settings.unleash_verify_seconds, remaining))
        evaluation = await store.verify(memo.switches, seconds=seconds)
        for switch in memo.switches:
            if image := evaluation.left.get(switch.flag.name):
                kept = {"execution": context.trigger.id, "image": image}
                await context.memory.put(_left_at(switch), kept)
        details = {"seen": dict(evaluation.seen)} if evaluation.seen else {}
        if not evaluation.holds:
            return Outcome.failed(evaluation.contrary, **details)
        done = f"{', '.join(map(str, memo.switches))} in {store.place}"
        if evaluation.doubt:
            return Outcome.warned(f"{done}; what applications see: {evaluation.doubt}", **details)
        return Outcome.passed(done, **details)

    async def undo(self, context: Context, plan: Plan) -> str | None:
        memo = _Memo.model_validate(plan.memo)
        switches = [switch for switch in memo.switches if switch.changes]
        if not switches:
            return "there was nothing to undo"
        left = {switch.flag.name: await _left(context, switch) for switch in switches}
        restored = await self._store(context, memo).restore(switches, left)
        if len(restored.left_alone) == len(switches):
            raise Denied("; ".join(restored.left_alone))
        done = "undone" if restored.put_back else "it is as it was before"
        if but := "; ".join((*restored.left_alone, *restored.remarks)):
            return f"{done}, but: {but}"
        return None if restored.put_back else done

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        settings = self.settings
        if not settings.unleash_url or not settings.unleash_api_token:
            return [_flag_file(settings.flagd_file or Path())]
        found = unleash_rights.diagnose(
            http,
            settings.unleash,
            settings.unleash_api_token.get_secret_value(),
            settings.unleash_project,
            sorted(set(_environments(settings.unleash_environment).values())),
            settings.unleash_timeout_seconds,
        )
        return [finding async for finding in found]

    def _memo(self, context: Context) -> _Memo:
        settings = self.settings
        if settings.unleash_url:
            environment = settings.environment(context.trigger.stage)
            project = settings.unleash_project
            return _Memo(store="unleash", project=project, environment=environment)
        return _Memo(store="flagd", file=settings.flagd_file or Path())

    def _store(self, context: Context, memo: _Memo) -> FlagStore:
        """The store that the plan was made for, whatever the settings say now."""
        if memo.store == "flagd":
            return FlagdFile(memo.file)
        settings = self.settings
        if not settings.unleash_url or not settings.unleash_api_token:
            raise PermanentError(
                "this was planned for Unleash, which is no longer configured: set UNLEASH_URL"
            )
        api = UnleashApi(
            http=context.http,
            url=settings.unleash,
            token=settings.unleash_api_token.get_secret_value(),
            project=memo.project,
            environment=memo.environment,
            timeout_seconds=settings.unleash_timeout_seconds,
        )
        return Unleash(api, settings.client_tokens, settings.unleash_on_without_strategy)


def _flag_file(path: Path) -> Finding:
    if not path.is_file():
        return Finding("flagd", False, f"{path} is not there", "check FLAGD_FILE")
    if not os.access(path.parent, os.W_OK):
        return Finding("flagd", False, f"{path.parent} can't be written", "grant it to our user")
    return Finding("flagd", True, f"{path} can be written")


async def _found(store: FlagStore, name: str, wish: Wish) -> Flag:
    try:
        return await store.find(name, wish)
    except PermanentError as error:
        if isinstance(wish, bool):
            raise
        # What is neither on nor off may be meant for another action.
        raise PermanentError(f"{error} ({_FOREIGN})") from None


def _left_at(switch: Switch) -> str:
    """The key in the action's memory for the newest after-image of a flag."""
    return f"left {switch.flag.target}"


async def _left(context: Context, switch: Switch) -> Any:
    """The flag's after-image, unless a later execution left another."""
    kept: Mapping[str, Any] = await context.memory.get(_left_at(switch)) or {}
    return kept.get("image") if kept.get("execution") == context.trigger.id else None


def _changes(switch: Switch) -> Iterator[Change]:
    if switch.changes:
        flag: Flag = switch.flag
        yield Change(flag.target, "enabled", flag.enabled, switch.wanted)
        if flag.adds:
            yield Change(flag.target, "strategies", "none that is active", flag.adds)


def _notes(switch: Switch) -> Iterator[str]:
    if not switch.changes:
        yield f"{switch.flag.name} was {switch.said} already"
    yield from switch.flag.warnings
