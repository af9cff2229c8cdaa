"""The settings of toggle-feature: which store of flags there is, and how to reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from keptn_remedy import ActionSettings
from keptn_remedy_actions.cluster.settings import KubernetesSettings, checked_template

OnWithoutStrategy = Literal["refuse", "warn"]
Store = Literal[
    "unleash", "openfeature", "launchdarkly", "gitlab", "flagsmith", "configcat", "flagd"
]

_NEEDS: Final[Mapping[Store, Sequence[str]]] = {
    "unleash": ("unleash_url", "unleash_api_token"),
    "openfeature": ("openfeature_flags",),
    "launchdarkly": ("launchdarkly_api_token", "launchdarkly_project"),
    "gitlab": ("gitlab_api_token", "gitlab_project"),
    "flagsmith": ("flagsmith_api_token", "flagsmith_url", "flagsmith_environment"),
    "configcat": ("configcat_user", "configcat_password", "configcat_sdk_key"),
    "flagd": ("flagd_file",),
}
"""The settings that make up a store: all of them or none."""


class ToggleFeatureSettings(ActionSettings):
    """Where the flags are: in one store. Beside Unleash, a flagd file may be set and is unused."""

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

    openfeature_flags: str = ""
    """`namespace/name` of a FeatureFlag of the OpenFeature operator, of {project}, {stage},
    {service} and {labels[x]} of the trigger."""
    openfeature_ofrep_url: HttpUrl | None = None
    """flagd's OFREP address: `verify` then looks at what it serves, too."""
    kubeconfig: str | None = None
    """A kubeconfig file for that. By default the cluster in which this pod runs."""
    kubernetes_service_host: str = ""
    """Set by Kubernetes in every pod."""
    kubernetes_service_port: str = ""
    """Set by Kubernetes in every pod."""
    launchdarkly_api_token: SecretStr | None = None
    """An access token that may read and change flags' targeting."""
    launchdarkly_project: str = ""
    """The key of the LaunchDarkly project."""
    launchdarkly_environment: str = ""
    """Like UNLEASH_ENVIRONMENT, with keys of LaunchDarkly's environments."""
    launchdarkly_url: HttpUrl = HttpUrl("https://app.launchdarkly.com")
    """The instance, such as that for the EU."""
    gitlab_api_token: SecretStr | None = None
    """An access token with the scope `api` and the role Developer."""
    gitlab_project: str = ""
    """The number of the GitLab project, or its path: `shop/carts`."""
    gitlab_environment: str = ""
    """Like UNLEASH_ENVIRONMENT, with GitLab's environments; `*` switches the whole flag."""
    gitlab_url: HttpUrl = HttpUrl("https://gitlab.com")
    """The address of GitLab."""
    flagsmith_url: HttpUrl | None = None
    """The address of Flagsmith's API, without `/api/v1`."""
    flagsmith_api_token: SecretStr | None = None
    """An API key of the organisation."""
    flagsmith_environment: str = ""
    """The key of the environment, or `stage=key` pairs."""
    configcat_user: str = ""
    """The user name of a credential for the public management API."""
    configcat_password: SecretStr | None = None
    """Its password."""
    configcat_sdk_key: SecretStr | None = None
    """The SDK key of config and environment, or `stage=key` pairs."""
    configcat_url: HttpUrl = HttpUrl("https://api.configcat.com")
    """The address of the public management API."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        # Manifests render an unset value as an empty one.
        return {name: value for name, value in given.items() if value not in ("", None)}

    @field_validator(
        "unleash_url",
        "openfeature_ofrep_url",
        "launchdarkly_url",
        "gitlab_url",
        "flagsmith_url",
        "configcat_url",
    )
    @classmethod
    def _without_account(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url and (url.username or url.password):
            raise ValueError("must not hold a user or password; a token has a setting of its own")
        return url

    @field_validator(
        "unleash_api_token",
        "unleash_client_token",
        "launchdarkly_api_token",
        "gitlab_api_token",
        "flagsmith_api_token",
        "configcat_password",
        "configcat_sdk_key",
    )
    @classmethod
    def _one_line(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value().strip() if token else ""
        if not text.isprintable():
            raise ValueError("must be one line of text")
        return SecretStr(text) if text else None

    @field_validator(
        "unleash_environment",
        "launchdarkly_environment",
        "gitlab_environment",
        "flagsmith_environment",
    )
    @classmethod
    def _pairs(cls, text: str) -> str:
        by_stage(text)
        return text

    @field_validator("configcat_sdk_key")
    @classmethod
    def _secret_pairs(cls, keys: SecretStr | None) -> SecretStr | None:
        by_stage(keys.get_secret_value() if keys else "")
        return keys

    @field_validator("openfeature_flags")
    @classmethod
    def _resource(cls, template: str) -> str:
        if not template:
            return template
        if template.count("/") != 1 or not all(part.strip() for part in template.split("/")):
            raise ValueError("write namespace/name, such as {project}-{stage}/flags")
        return checked_template(template)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for needs in _NEEDS.values():
            given = [name for name in needs if getattr(self, name)]
            if given and (missing := [name for name in needs if name not in given]):
                is_set, is_not = given[0].upper(), missing[0].upper()
                raise ValueError(f"{is_set} is set, but {is_not} is not: set it too")
        if len(stores := self._stores) > 1 and set(stores) != {"unleash", "flagd"}:
            named = " and ".join(_NEEDS[store][0].upper() for store in stores)
            raise ValueError(f"there can be one store of flags: {named} are set")
        if not stores:
            raise ValueError(
                "set UNLEASH_URL and UNLEASH_API_TOKEN, or FLAGD_FILE, or those of another store"
                " (docs/actions/toggle-feature.md)"
            )
        if "openfeature" in stores and not self.has_cluster:
            raise ValueError(
                "OPENFEATURE_FLAGS needs a cluster: this is not a pod, and KUBECONFIG names no file"
            )
        return self

    @property
    def _stores(self) -> Sequence[Store]:
        return [store for store, needs in _NEEDS.items() if getattr(self, needs[0])]

    @property
    def store(self) -> Store:
        """The store that is set."""
        return self._stores[0]

    def has(self, store: Store) -> bool:
        """Whether all settings of this store are there."""
        return all(getattr(self, name) for name in _NEEDS[store])

    def needs(self, store: Store) -> Sequence[str]:
        """The variables that make up a store."""
        return [name.upper() for name in _NEEDS[store]]

    @property
    def has_cluster(self) -> bool:
        try:
            return bool(self.cluster)
        except ValidationError:
            return False

    @property
    def cluster(self) -> KubernetesSettings:
        """The cluster that has the FeatureFlag resources."""
        return KubernetesSettings(
            kubeconfig=self.kubeconfig,
            service_host=self.kubernetes_service_host,
            service_port=self.kubernetes_service_port,
        )

    @property
    def unleash(self) -> str:
        """The address without the `/api` that old clients need at its end."""
        return str(self.unleash_url).rstrip("/").removesuffix("/api")

    @property
    def client_tokens(self) -> Sequence[str]:
        token = self.unleash_client_token
        return token.get_secret_value().replace(",", " ").split() if token else ()

    def environment(self, stage: str, store: Store = "unleash") -> str:
        """The environment of a Keptn stage in this store: its name, or its key."""
        environments = by_stage(getattr(self, f"{store}_environment"))
        return environments.get(stage) or environments.get("", stage)

    def sdk_key(self, stage: str) -> str:
        """ConfigCat's SDK key of a Keptn stage; empty where there is none."""
        key = self.configcat_sdk_key
        keys = by_stage(key.get_secret_value() if key else "")
        return keys.get(stage) or keys.get("", "")


def by_stage(text: str) -> Mapping[str, str]:
    """What a setting has for each stage; what it has for all stages is under ""."""
    if not text or "=" not in text:
        return {"": text.strip()} if text.strip() else {}
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(stage.strip() and its.strip() for stage, _, its in pairs):
        raise ValueError("write one for all stages, or pairs: prod=production,dev=development")
    return {stage.strip(): its.strip() for stage, _, its in pairs}
