"""The store of flags that is set: made for a plan, and looked at by `remedy doctor`."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiohttp import ClientSession
from pydantic import BaseModel, HttpUrl, SecretStr

from keptn_remedy import Context, Finding, PermanentError, TemporaryError
from keptn_remedy_actions.cluster import rights
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.targets import filled
from keptn_remedy_actions.flag_backends import FlagStore, Switch
from keptn_remedy_actions.flag_backends.compared import Backend, ComparedFlags
from keptn_remedy_actions.flag_backends.http_api import HttpApi
from keptn_remedy_actions.flag_backends.settings import Store, ToggleFeatureSettings, by_stage

# Each store's own module is imported when it is used: most installations have one of them.
_NAMES: Final[Mapping[Store, str]] = {
    "unleash": "Unleash",
    "openfeature": "the OpenFeature operator",
    "launchdarkly": "LaunchDarkly",
    "gitlab": "GitLab",
    "flagsmith": "Flagsmith",
    "configcat": "ConfigCat",
}


class Memo(BaseModel):
    """The plan's memo: where the flags are, and how they were.

    `environment` is that of the store; for FeatureFlag resources it is their namespace and name.
    """

    store: Store
    project: str = ""
    environment: str = ""
    file: Path = Path()
    switches: list[Switch] = []


class Stores:
    """The stores of one action; it keeps the connection to the cluster."""

    def __init__(self, settings: ToggleFeatureSettings) -> None:
        self._settings = settings
        self._cluster: ClusterApi | None = None

    async def close(self) -> None:
        if self._cluster:
            await self._cluster.close()

    def memo(self, context: Context) -> Memo:
        """Where the flags of this trigger are, by the settings of now."""
        settings, stage = self._settings, context.trigger.stage
        match settings.store:
            case "flagd":
                return Memo(store="flagd", file=settings.flagd_file or Path())
            case "openfeature":
                resource = filled(settings.openfeature_flags, context.trigger)
                return Memo(store="openfeature", environment=resource)
            case "unleash" | "launchdarkly" | "gitlab" as store:
                project = getattr(settings, f"{store}_project")
                environment = settings.environment(stage, store)
                return Memo(store=store, project=project, environment=environment)
            case "flagsmith":
                return Memo(store="flagsmith", environment=_key(settings, stage))
            case "configcat":
                return Memo(store="configcat", environment=stage)

    def store(self, context: Context, memo: Memo) -> FlagStore:
        """The store that the plan was made for, whatever the settings say now."""
        settings = self._settings
        if memo.store == "flagd":
            from keptn_remedy_actions.flag_backends.flagd import FlagdFile

            return FlagdFile(memo.file)
        if not settings.has(memo.store):
            needs = " and ".join(settings.needs(memo.store))
            name = _NAMES[memo.store]
            raise PermanentError(
                f"this was planned for {name}, which is no longer configured: set {needs}"
            )
        if memo.store == "unleash":
            return _unleash(settings, context.http, memo)
        reason = f"keptn-remedy, execution {context.trigger.id}"
        return ComparedFlags(self._backend(context.http, memo, reason))

    def _backend(self, http: ClientSession, memo: Memo, reason: str) -> Backend:
        settings = self._settings
        match memo.store:
            case "openfeature":
                from keptn_remedy_actions.flag_backends.openfeature import FeatureFlags, reference

                ofrep = _address(settings.openfeature_ofrep_url)
                return FeatureFlags(self._api, http, reference(memo.environment), ofrep)
            case "launchdarkly":
                from keptn_remedy_actions.flag_backends.launchdarkly import LaunchDarkly

                api = _launchdarkly(settings, http)
                return LaunchDarkly(api, memo.project, memo.environment, reason)
            case "gitlab":
                from keptn_remedy_actions.flag_backends.gitlab import GitLab

                return GitLab(_gitlab(settings, http), memo.project, memo.environment)
            case "flagsmith":
                from keptn_remedy_actions.flag_backends.flagsmith import Flagsmith

                return Flagsmith(_flagsmith(settings, http), memo.environment)
            case _:
                from keptn_remedy_actions.flag_backends.configcat import ConfigCat

                key = settings.sdk_key(memo.environment)
                if not key:
                    raise PermanentError(f"CONFIGCAT_SDK_KEY has none for {memo.environment}")
                return ConfigCat(_configcat(settings, http, key), key, memo.environment, reason)

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        """Whether the store can be reached and read, and as far as it tells, written."""
        settings = self._settings
        match settings.store:
            case "flagd":
                return [_flag_file(settings.flagd_file or Path())]
            case "unleash":
                return await _unleash_findings(settings, http)
            case "openfeature":
                namespace = settings.openfeature_flags.partition("/")[0]
                return await rights.of_action(self._api, "toggle-feature", namespaces, namespace)
            case store:
                memos = self._memos(store)
                return [await _examined(store, self._backend(http, memo, "")) for memo in memos]

    def _memos(self, store: Store) -> Sequence[Memo]:
        """One for each environment that the settings name."""
        settings = self._settings
        if store == "configcat":
            key = settings.configcat_sdk_key
            stages: Collection[str] = by_stage(key.get_secret_value()) if key else ()
            return [Memo(store=store, environment=stage) for stage in sorted(stages)]
        project: str = getattr(settings, f"{store}_project", "")
        environments = sorted(set(by_stage(getattr(settings, f"{store}_environment")).values()))
        return [Memo(store=store, project=project, environment=e) for e in environments or [""]]

    @property
    def _api(self) -> ClusterApi:
        self._cluster = self._cluster or ClusterApi(self._settings.cluster)
        return self._cluster


def _unleash(settings: ToggleFeatureSettings, http: ClientSession, memo: Memo) -> FlagStore:
    from keptn_remedy_actions.flag_backends.unleash import Unleash
    from keptn_remedy_actions.flag_backends.unleash_api import UnleashApi
    from keptn_remedy_actions.flag_backends.unleash_rollout import ByWish, Rollout

    api = UnleashApi(
        http=http,
        url=settings.unleash,
        token=_secret(settings.unleash_api_token),
        project=memo.project,
        environment=memo.environment,
        timeout_seconds=settings.unleash_timeout_seconds,
    )
    switches = Unleash(api, settings.client_tokens, settings.unleash_on_without_strategy)
    return ByWish(switches, ComparedFlags(Rollout(api)))


async def _unleash_findings(
    settings: ToggleFeatureSettings, http: ClientSession
) -> Sequence[Finding]:
    from keptn_remedy_actions.flag_backends import unleash_rights

    found = unleash_rights.diagnose(
        http,
        settings.unleash,
        _secret(settings.unleash_api_token),
        settings.unleash_project,
        sorted(set(by_stage(settings.unleash_environment).values())),
        settings.unleash_timeout_seconds,
    )
    return [finding async for finding in found]


def _launchdarkly(settings: ToggleFeatureSettings, http: ClientSession) -> HttpApi:
    token = _secret(settings.launchdarkly_api_token)
    return HttpApi(
        http=http,
        store="LaunchDarkly",
        url=_address(settings.launchdarkly_url),
        url_setting="LAUNCHDARKLY_URL",
        account="LAUNCHDARKLY_API_TOKEN",
        headers={"Authorization": token, "LD-API-Version": "20240415"},
        secrets=[token],
    )


def _gitlab(settings: ToggleFeatureSettings, http: ClientSession) -> HttpApi:
    token = _secret(settings.gitlab_api_token)
    return HttpApi(
        http=http,
        store="GitLab",
        url=_address(settings.gitlab_url),
        url_setting="GITLAB_URL",
        account="GITLAB_API_TOKEN",
        headers={"PRIVATE-TOKEN": token},
        secrets=[token],
    )


def _flagsmith(settings: ToggleFeatureSettings, http: ClientSession) -> HttpApi:
    token = _secret(settings.flagsmith_api_token)
    return HttpApi(
        http=http,
        store="Flagsmith",
        url=_address(settings.flagsmith_url),
        url_setting="FLAGSMITH_URL",
        account="FLAGSMITH_API_TOKEN",
        headers={"Authorization": f"Api-Key {token}"},
        secrets=[token],
    )


def _configcat(settings: ToggleFeatureSettings, http: ClientSession, key: str) -> HttpApi:
    password = _secret(settings.configcat_password)
    account = base64.b64encode(f"{settings.configcat_user}:{password}".encode()).decode()
    return HttpApi(
        http=http,
        store="ConfigCat",
        url=_address(settings.configcat_url),
        url_setting="CONFIGCAT_URL",
        account="CONFIGCAT_USER and CONFIGCAT_PASSWORD",
        headers={"Authorization": f"Basic {account}"},
        secrets=[password, account, key],
    )


def _key(settings: ToggleFeatureSettings, stage: str) -> str:
    """The key of the stage's environment in Flagsmith, which has no names for them."""
    keys = by_stage(settings.flagsmith_environment)
    if key := keys.get(stage) or keys.get(""):
        return key
    raise PermanentError(f"FLAGSMITH_ENVIRONMENT has no key for the stage {stage}")


def _address(url: HttpUrl | None) -> str:
    return str(url).rstrip("/") if url else ""


def _secret(token: SecretStr | None) -> str:
    return token.get_secret_value() if token else ""


async def _examined(store: Store, backend: Backend) -> Finding:
    try:
        return Finding(store, True, await backend.examine())
    except (PermanentError, TemporaryError) as error:
        return Finding(store, False, str(error), f"check the settings {store.upper()}_*")


def _flag_file(path: Path) -> Finding:
    if not path.is_file():
        return Finding("flagd", False, f"{path} is not there", "check FLAGD_FILE")
    if not os.access(path.parent, os.W_OK):
        return Finding("flagd", False, f"{path.parent} can't be written", "grant it to our user")
    return Finding("flagd", True, f"{path} can be written")
