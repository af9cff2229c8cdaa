"""The chart makes a pod that loses no event, keeps its journal, and may do little else."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.render import CHART
from keptn_remedy import settings, variables
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.toggle_feature import ToggleFeature
from tests.deploy.charts import (
    ALL,
    EVERYTHING,
    REMOTE,
    UNLEASH,
    Json,
    container,
    deployment,
    distributor,
    each_values,
    environment,
    needs_helm,
    objects,
    of_kind,
    pod,
    provider,
    refusal,
    the,
)

pytestmark = needs_helm

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SEPARATE: Json = {"distributor": {"separate": True}}
# What the chart decides, or has a value of its own for.
DECIDED = {
    "REMEDY_ACTIONS",
    "REMEDY_ACTIONS_DIR",
    "REMEDY_DRAIN_SECONDS",
    "REMEDY_EVENT_URL",
    "REMEDY_HOST",
    "REMEDY_JOURNAL",
    "REMEDY_OPS_HOST",
    "REMEDY_OPS_PORT",
    "REMEDY_PORT",
    "REMEDY_TRANSPORT",
}


@each_values
def test_lint_finds_no_fault(values: Json) -> None:
    found = import_module("helm_python").lint(str(CHART), values, strict=True)
    assert (found["messages"], found["errors"]) == ([], [])


def test_the_chart_has_the_version_of_the_provider() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (project["version"], project["version"])


def test_the_schema_knows_each_value_and_no_other() -> None:
    def keys(schema: Json) -> Any:
        if schema.get("additionalProperties") is not False:
            return None
        return {name: keys(each) for name, each in schema["properties"].items()}

    def of(values: Json, schema: Any) -> Any:
        return {n: of(v, schema[n]) if schema.get(n) else None for n, v in values.items()}

    known = keys(SCHEMA)
    del known["global"]  # Helm adds it
    assert known == of(DEFAULTS, known)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"actions": {"skale": True}},
        {"actions": {"scale": "yes"}},
        {"settings": {"REMEDY_DRY_RUNS": True}},
        {"settings": {"REMEDY_ACTIONS": "scale"}},
        {"extraActions": ["a,b"]},
        {"drainSeconds": 1},
        {"rbac": {"targetNamespaces": ["Sock_Shop"]}},
        {"unleash": {"url": "unleash:4242"}},
        {"distributor": {"proxyPort": 8080}},
        {"distributor": {"user": 0}},
        {"user": 0},
        {"keptn": {"apiEndpoint": "keptn.example"}},
    ],
    ids=str,
)
def test_the_schema_refuses_wrong_values(values: Json) -> None:
    assert "schema" in refusal(values)


def test_nothing_switched_on_is_refused_as_it_would_mean_everything() -> None:
    assert "switch on an action" in refusal({"actions": {"toggle-feature": False}})


@pytest.mark.parametrize(
    ("values", "actions"),
    [
        ({}, ["toggle-feature"]),
        (ALL, ["restart", "rollback", "scale", "toggle-feature"]),
        (EVERYTHING, ["purge-cache", "restart", "rollback", "scale", "toggle-feature"]),
        ({"actions": {"toggle-feature": False}, "extraActions": ["purge-cache"]}, ["purge-cache"]),
    ],
)
def test_what_is_switched_on_is_listed_and_nothing_else(values: Json, actions: list[str]) -> None:
    assert sorted(environment(provider(values))["REMEDY_ACTIONS"].split(",")) == actions


@each_values
def test_the_provider_can_start_with_what_it_is_told(values: Json) -> None:
    told = environment(provider(values))
    pod_has = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    found = settings.load(told)
    assert (found.ops_host, found.port, found.ops_port) == ("0.0.0.0", 8080, 8090)  # noqa: S104
    variables.build(KubernetesSettings, "KUBERNETES_", {**told, **pod_has})


@each_values
def test_each_variable_of_the_provider_is_a_setting(values: Json) -> None:
    known = {
        *variables.names_of(Settings, settings.PREFIX),
        *variables.names_of(KeptnSettings, ""),
        *variables.names_of(KubernetesSettings, "KUBERNETES_"),
        *variables.names_of(ToggleFeature.Settings, ""),
        *(each["name"] for each in values.get("extraEnv", [])),
    }
    assert {name.removesuffix("_FILE") for name in environment(provider(values))} <= known


def test_each_setting_of_the_process_can_be_set() -> None:
    accepted = set(SCHEMA["properties"]["settings"]["propertyNames"]["enum"])
    assert accepted == set(variables.names_of(Settings, settings.PREFIX)) - DECIDED


def test_the_values_have_the_defaults_of_the_settings() -> None:
    limits = DEFAULTS["kubernetes"]
    ours = (DEFAULTS["drainSeconds"], limits["maxReplicas"], limits["namespaceTemplate"])
    fields = KubernetesSettings.model_fields
    assert ours == (
        Settings.model_fields["drain_seconds"].default,
        fields["max_replicas"].default,
        fields["namespace_template"].default,
    )


@pytest.mark.parametrize(("drain", "stop", "seconds"), [(25, 6, 36), (60, 10, 75), (2.5, 0, 8)])
def test_the_grace_period_covers_the_wait_for_the_distributor_and_the_drain(
    drain: float, stop: int, seconds: int
) -> None:
    values = {"drainSeconds": drain, "preStopSeconds": stop}
    assert pod(values)["terminationGracePeriodSeconds"] == seconds
    assert environment(provider(values))["REMEDY_DRAIN_SECONDS"] == str(drain)
    assert provider(values)["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", str(stop)]}}


@each_values
def test_one_pod_at_a_time_owns_the_journal(values: Json) -> None:
    spec = deployment(values)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_provider_starts_before_the_distributor() -> None:
    first, second = pod({})["containers"]
    assert (first["name"], second["name"]) == ("keptn-remedy", "distributor")
    assert "postStart" in first["lifecycle"]


@each_values
def test_no_container_has_more_than_it_needs(values: Json) -> None:
    for found in of_kind("Deployment", values):
        spec = found["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["enableServiceLinks"] is spec["automountServiceAccountToken"] is False
        for each in spec["containers"]:
            security = each["securityContext"]
            assert security["runAsUser"] in (10001, 65532)
            assert security["readOnlyRootFilesystem"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"cpu", "memory"} == set(each["resources"]["requests"])
            assert {"cpu", "memory"} == set(each["resources"]["limits"])


def test_the_token_of_the_api_server_is_for_the_provider_alone() -> None:
    values = {**ALL, **SEPARATE}
    for each in (ALL, values):
        mounts = [mount["name"] for mount in provider(each)["volumeMounts"]]
        assert "api-server" in mounts
    assert "volumeMounts" not in distributor(ALL)
    assert "volumes" not in pod(values, "distributor")


def test_without_a_cluster_action_there_is_no_token() -> None:
    assert [volume["name"] for volume in pod({})["volumes"]] == ["journal", "tmp"]
    own = {"rbac": {"extraRules": EVERYTHING["rbac"]["extraRules"], "clusterWide": True}}
    assert [volume["name"] for volume in pod(own)["volumes"]] == ["journal", "tmp", "api-server"]


def test_the_event_port_is_closed_to_other_pods() -> None:
    ports = [rule["ports"][0]["port"] for rule in the("NetworkPolicy", {})["spec"]["ingress"]]
    assert ports == ["ops"]
    assert "REMEDY_HOST" not in environment(provider({}))
    assert [port["name"] for port in the("Service", {})["spec"]["ports"]] == ["ops"]


def test_only_a_separate_distributor_reaches_the_event_port() -> None:
    events = the("NetworkPolicy", SEPARATE)["spec"]["ingress"][0]
    (peer,) = events["from"]
    labels = deployment(SEPARATE, "distributor")["spec"]["template"]["metadata"]["labels"]
    assert events["ports"][0]["port"] == "events"
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert not peer["podSelector"]["matchLabels"].items() <= _provider_labels(SEPARATE).items()


def test_the_service_leads_to_the_provider_and_not_to_the_distributor() -> None:
    selector = the("Service", SEPARATE)["spec"]["selector"].items()
    labels = deployment(SEPARATE, "distributor")["spec"]["template"]["metadata"]["labels"]
    assert selector <= _provider_labels(SEPARATE).items()
    assert not selector <= labels.items()


def test_secrets_are_files_and_no_variables() -> None:
    values = {"unleash": {**UNLEASH, "secret": {**UNLEASH["secret"], "urlKey": "url"}}}
    told, folder = environment(provider(values)), "/etc/keptn-remedy/unleash"
    assert told["UNLEASH_URL_FILE"] == f"{folder}/url"
    assert told["UNLEASH_API_TOKEN_FILE"] == f"{folder}/api-token"
    assert told["UNLEASH_CLIENT_TOKEN_FILE"] == f"{folder}/client-token"
    (secret,) = (v["secret"] for v in pod(values)["volumes"] if v["name"] == "unleash")
    assert {item["key"]: item["path"] for item in secret["items"]} == {
        "token": "api-token",
        "client": "client-token",
        "url": "url",
    }
    mount = next(m for m in provider(values)["volumeMounts"] if m["name"] == "unleash")
    assert (mount["mountPath"], mount["readOnly"]) == (folder, True)


def test_the_journal_is_kept_unless_asked_otherwise() -> None:
    claim = the("PersistentVolumeClaim", {})
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    without: Json = {"persistence": {"enabled": False}}
    assert of_kind("PersistentVolumeClaim", without) == []
    assert {"name": "passing-journal", "emptyDir": {}} in pod(without)["volumes"]
    journal = environment(provider({}))["REMEDY_JOURNAL"]
    mounts = [mount["mountPath"] for mount in provider({})["volumeMounts"]]
    assert str(Path(journal).parent) in mounts


def test_two_releases_in_one_namespace_share_no_name() -> None:
    names = [
        {(found["kind"], found["metadata"]["name"]) for found in objects({**ALL, **values})}
        for values in ({}, {"fullnameOverride": "remedies"})
    ]
    assert not names[0] & names[1]


def test_probes_ask_the_ops_port() -> None:
    asked = {
        probe: provider({})[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": {"path": "/healthz", "port": "ops"},
        "livenessProbe": {"path": "/healthz", "port": "ops"},
        "readinessProbe": {"path": "/readyz", "port": "ops"},
    }


def test_a_start_may_take_as_long_as_the_distributor_waits() -> None:
    values = {"startupSeconds": 301}
    probe, hook = provider(values)["startupProbe"], provider(values)["lifecycle"]["postStart"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 301
    assert hook["exec"]["command"][-2:] == ["8080", "301"]


def _provider_labels(values: Json) -> dict[str, str]:
    labels: dict[str, str] = deployment(values)["spec"]["template"]["metadata"]["labels"]
    return labels


def test_a_remote_plane_gets_its_token_from_a_secret() -> None:
    assert environment(distributor(REMOTE))["KEPTN_API_TOKEN"] == (
        "secret keptn-api-token/keptn-api-token"
    )
    assert "KEPTN_API_TOKEN_FILE" not in environment(container("keptn-remedy", REMOTE))


def test_the_values_that_the_documents_show_are_accepted() -> None:
    page = (ROOT / "docs/operating.md").read_text("utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    values = yaml.safe_load(shown)
    assert environment(provider(values))["REMEDY_ACTIONS"].count(",") == 3
    assert len(of_kind("Role", values)) == 2
    assert environment(provider(values))["UNLEASH_URL_FILE"]
