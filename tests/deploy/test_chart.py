"""The chart makes a pod that loses no event, keeps its journal, and may do little else."""

import json
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.render import CHART
from keptn_remedy import settings
from keptn_remedy.registry import key
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support import variables
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from keptn_remedy_actions.toggle_feature import ToggleFeature
from tests.deploy.charts import (
    ALL,
    EVERYTHING,
    NATS,
    OAUTH,
    POSTGRES,
    REMOTE,
    UNLEASH,
    Json,
    container,
    deployment,
    distributor,
    documented,
    each_values,
    environment,
    journal_pod,
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
    "REMEDY_AGENT_TOKEN_FILE",
    "REMEDY_ALIASES",
    "REMEDY_CHANNELS",
    "REMEDY_DRAIN_SECONDS",
    "REMEDY_EVENT_URL",
    "REMEDY_HOST",
    "REMEDY_HOST_NAMES",
    "REMEDY_INTAKE_HOST",
    "REMEDY_INTAKE_PORT",
    "REMEDY_JOURNAL",
    "REMEDY_JOURNAL_PASSWORD_FILE",
    "REMEDY_NATS_CA_FILE",
    "REMEDY_NATS_CREDENTIALS_FILE",
    "REMEDY_NATS_NKEY_FILE",
    "REMEDY_NATS_PASSWORD",
    "REMEDY_NATS_QUEUE",
    "REMEDY_NATS_STREAM",
    "REMEDY_NATS_TOKEN",
    "REMEDY_NATS_USER",
    "REMEDY_OPERATORS_FILE",
    "REMEDY_NOTIFY",
    "REMEDY_OPERATOR_TOKEN_FILE",
    "REMEDY_OPS_HOST",
    "REMEDY_OPS_PORT",
    "REMEDY_PAGE_URL",
    "REMEDY_PAUSE_FILE",
    "REMEDY_POLICY",
    "REMEDY_PORT",
    "REMEDY_REMEDIATIONS",
    "REMEDY_RESOURCES_DIR",
    "REMEDY_SOURCES",
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
    known["settings"] = known["policy"] = None  # none is set by default
    assert known == of(DEFAULTS, known)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"actions": {"skale": True}},
        {"actions": {"scale": "yes"}},
        {"settings": {"REMEDY_DRY_RUNS": True}},
        {"settings": {"REMEDY_ACTIONS": "scale"}},
        {"settings": {"REMEDY_DRY_RUN": "yes"}},
        {"settings": {"REMEDY_LOG_LEVEL": "loud"}},
        {"settings": {"REMEDY_POLICY": "/policy.yaml"}},
        {"settings": {"REMEDY_WATCH_SECONDS": 0}},
        {"settings": {"REMEDY_VALUE_SOURCE": "events"}},
        {"policy": {"version": 1, "rails": []}},
        {"policy": {"version": 1, "rules": [{"cooldown": "5m"}]}},
        {"policy": {"version": 2}},
        {"policyConfigMap": "Our_Policy"},
        {"operator": {"token": "secret"}},
        {"distributor": {"subscribe": {"problems": "yes"}}},
        {"fullnameOverride": "remedy.v1"},
        {"fullnameOverride": "1-remedy"},
        {"fullnameOverride": "r" * 51},
        {"image": {"tag": "a b"}},
        {"image": {"tag": "@sha256:" + "0" * 64}},
        {"podLabels": {"keptn-remedy/part": "mine"}},
        {"podAnnotations": {"kubectl.kubernetes.io/default-container": "mine"}},
        {"extraActions": ["a,b"]},
        {"drainSeconds": 1},
        {"rbac": {"targetNamespaces": ["Sock_Shop"]}},
        {"unleash": {"url": "unleash:4242"}},
        {"unleash": {"onWithoutStrategy": "allow"}},
        {"distributor": {"proxyPort": 8080}},
        {"distributor": {"user": 0}},
        {"user": 0},
        {"keptn": {"apiEndpoint": "keptn.example"}},
        {"transport": "local"},
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


def test_aliases_are_pairs_of_names() -> None:
    told = environment(provider({"aliases": {"notify": "toggle-feature", "hello": "scale"}}))
    assert told["REMEDY_ALIASES"] == "hello=scale,notify=toggle-feature"
    assert "REMEDY_ALIASES" not in environment(provider({}))
    assert "schema" in refusal({"aliases": {"hello": "scale,restart"}})


@pytest.mark.parametrize(
    "name",
    [
        "Rollout_Undo",
        *sorted({
            key(name)
            for action in (ToggleFeature, Scale, Rollback, Restart)
            for name in (action.name, *action.aliases)
        }),
    ],
)  # fmt: skip
def test_a_built_in_action_is_not_switched_on_without_its_rights(name: str) -> None:
    assert f"{name} is built in" in refusal({"extraActions": [name]})


@each_values
def test_the_provider_can_start_with_what_it_is_told(values: Json) -> None:
    told = environment(provider(values))
    pod_has = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    if told.pop("REMEDY_JOURNAL_FILE", None):
        told["REMEDY_JOURNAL"] = "postgresql://remedy@db/remedy"
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
    told = environment(provider(values))
    assert [name for name in told if not {name, name.removesuffix("_FILE")} & known] == []


def test_each_setting_of_the_process_can_be_set_as_it_is_meant() -> None:
    ours = Settings.model_json_schema()["properties"]
    wanted = {f"{settings.PREFIX}{name.upper()}": limits(each) for name, each in ours.items()}
    assert set(wanted) == set(variables.names_of(Settings, settings.PREFIX))
    accepted = SCHEMA["properties"]["settings"]
    assert accepted["additionalProperties"] is False
    assert {name: limits(each) for name, each in accepted["properties"].items()} == {
        name: each for name, each in wanted.items() if name not in DECIDED
    }


def limits(schema: Json) -> Json:
    """What a JSON schema says of a setting, but for what is a matter of style."""
    told = next((each for each in schema.get("anyOf", ()) if each["type"] != "null"), schema)
    if told.get("format") == "uri" or told.get("pattern") == "^https?://.+$":
        return {"type": "string", "format": "uri"}
    words = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "pattern", "maxLength")
    return {word: told[word] for word in words if word in told}


@pytest.mark.parametrize("values", [EVERYTHING, REMOTE, SEPARATE, NATS, OAUTH], ids=str)
def test_no_variable_is_listed_twice_whatever_is_set(values: Json) -> None:
    accepted = SCHEMA["properties"]["settings"]["properties"]
    every = {name: _accepted(schema) for name, schema in accepted.items()}
    listed = [each["name"] for each in provider({**values, "settings": every})["env"]]
    assert sorted(listed) == sorted(set(listed))


def _accepted(schema: Json) -> Any:
    told = schema.get("anyOf", [schema])[0]
    text = "https://keptn.example/api" if "http" in told.get("pattern", "") else "a"
    of_type = {"boolean": True, "integer": 5, "number": 5, "string": text}
    return told["enum"][0] if "enum" in told else of_type[told["type"]]


def test_another_address_of_keptn_wins_over_that_of_the_chart() -> None:
    api = "http://keptn.shop/api"
    for values in (SEPARATE, {"transport": "nats"}):
        told = environment(provider({**values, "settings": {"REMEDY_KEPTN_API": api}}))
        assert told["REMEDY_KEPTN_API"] == api


@pytest.mark.parametrize(
    "name",
    [
        "REMEDY_JOURNAL",
        "REMEDY_JOURNAL_FILE",
        "REMEDY_HOST",
        "REMEDY_POLICY",
        "REMEDY_PAUSE_FILE",
        "REMEDY_OPERATORS_FILE",
        "REMEDY_OPERATOR_TOKEN_FILE",
        "REMEDY_DRY_RUN",
        "UNLEASH_URL",
        "STAGE_FILTER",
    ],
)
def test_a_variable_of_the_chart_is_not_set_a_second_time(name: str) -> None:
    values: Json = {
        "settings": {"REMEDY_DRY_RUN": True},
        "unleash": {"url": "http://unleash:4242"},
        "extraEnv": [{"name": name, "value": "mine"}],
    }
    assert f"extraEnv: {name} is set by the chart" in refusal(values)


@pytest.mark.parametrize("name", ["PUBSUB_TOPIC", "PROJECT_FILTER"])
def test_a_variable_of_the_distributor_is_not_set_a_second_time(name: str) -> None:
    told = refusal({"distributor": {"extraEnv": [{"name": name, "value": "mine"}]}})
    assert f"distributor.extraEnv: {name} is set by the chart" in told


def test_labels_of_the_chart_are_not_set_a_second_time() -> None:
    ours = set(deployment({})["metadata"]["labels"])
    values = SCHEMA["properties"]
    monitoring = values["monitoring"]["properties"]
    for schema in (
        values["podLabels"],
        monitoring["serviceMonitor"]["properties"]["labels"],
        monitoring["rules"]["properties"]["labels"],
    ):
        assert set(schema["propertyNames"]["not"]["enum"]) == ours


@pytest.mark.parametrize(
    ("tag", "image", "version"),
    [
        ("", "0.1.0", "0.1.0"),
        ("0.2.0-rc.1", "0.2.0-rc.1", "0.2.0-rc.1"),
        (f"0.2.0@sha256:{'a' * 64}", f"0.2.0@sha256:{'a' * 64}", "0.2.0"),
        ("_" + "a" * 61 + "._", "_" + "a" * 61 + "._", "a" * 61),
        ("a" * 62 + ".b", "a" * 62 + ".b", "a" * 62),
        ("___", "___", "0.1.0"),
    ],
)
def test_the_label_of_the_version_is_one_whatever_the_tag_is(
    tag: str, image: str, version: str
) -> None:
    values = {"image": {"tag": tag}}
    assert provider(values)["image"] == f"keptn-remedy:{image}"
    assert _provider_labels(values)["app.kubernetes.io/version"] == version


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
    if "postgres" in values:
        return
    spec = deployment(values)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_several_replicas_are_replaced_one_by_one_and_spread_over_zones() -> None:
    spec = deployment(POSTGRES)["spec"]
    assert spec["replicas"] == 3
    update = {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": update}
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    labels = spec["selector"]["matchLabels"]
    assert {tuple(each["labelSelector"]["matchLabels"].items()) for each in spread} == {
        tuple(labels.items())
    }
    budget = the("PodDisruptionBudget", POSTGRES)["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert of_kind("PodDisruptionBudget", {}) == []


def test_a_journal_on_postgres_needs_no_volume() -> None:
    assert of_kind("PersistentVolumeClaim", POSTGRES) == []
    assert "journal" not in {volume["name"] for volume in pod(POSTGRES)["volumes"]}
    found = environment(provider(POSTGRES))
    assert "REMEDY_JOURNAL" not in found
    assert found["REMEDY_JOURNAL_FILE"] == "/etc/keptn-remedy/postgres/url"
    assert found["REMEDY_JOURNAL_PASSWORD_FILE"] == "/etc/keptn-remedy/postgres/password"


@pytest.mark.parametrize("values", [{"replicas": 2}, {"replicas": 0}, {"postgres": {"url": "x"}}])
def test_several_replicas_need_postgres(values: Json) -> None:
    assert "schema" in refusal(values)


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
    assert [volume["name"] for volume in pod({})["volumes"]] == ["journal", "tmp", "pause"]
    own = {"rbac": {"extraRules": EVERYTHING["rbac"]["extraRules"], "clusterWide": True}}
    assert [volume["name"] for volume in pod(own)["volumes"]][-1] == "api-server"


def test_the_event_port_is_closed_to_other_pods() -> None:
    ports = [rule["ports"][0]["port"] for rule in the("NetworkPolicy", {})["spec"]["ingress"]]
    assert ports == ["ops"]
    assert "REMEDY_HOST" not in environment(provider({}))
    assert [port["name"] for port in the("Service", {})["spec"]["ports"]] == ["ops"]


def test_the_pod_connects_to_everything_unless_egress_says_where() -> None:
    assert the("NetworkPolicy", {})["spec"]["policyTypes"] == ["Ingress"]
    unleash = {
        "to": [{"podSelector": {"matchLabels": {"app": "unleash"}}}],
        "ports": [{"port": 4242}],
    }
    for remote, rules in ((REMOTE, []), ({}, [{"to": [{"podSelector": {}}]}])):
        values = {**remote, "networkPolicy": {"egress": [unleash]}}
        spec = the("NetworkPolicy", values)["spec"]
        dns, *others = spec["egress"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert {port["port"] for port in dns["ports"]} == {53}
        assert others == [*rules, unleash]
    assert len(the("NetworkPolicy", {"networkPolicy": {"egress": []}})["spec"]["egress"]) == 2


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


def test_a_flag_without_an_active_strategy_goes_on_where_the_values_say_so() -> None:
    values = {"unleash": {**UNLEASH, "onWithoutStrategy": "warn"}}
    assert environment(provider(values))["UNLEASH_ON_WITHOUT_STRATEGY"] == "warn"
    assert "UNLEASH_ON_WITHOUT_STRATEGY" not in environment(provider({"unleash": UNLEASH}))


def test_another_store_of_flags_gets_its_settings_and_its_secrets_as_files() -> None:
    store: Json = {
        "settings": {"LAUNCHDARKLY_PROJECT": "shop"},
        "secret": {"name": "flags", "keys": {"LAUNCHDARKLY_API_TOKEN": "token"}},
    }
    told = environment(provider({"flags": store}))
    folder = "/etc/keptn-remedy/flags"
    assert told["LAUNCHDARKLY_PROJECT"] == "shop"
    assert told["LAUNCHDARKLY_API_TOKEN_FILE"] == f"{folder}/LAUNCHDARKLY_API_TOKEN"
    (secret,) = (v["secret"] for v in pod({"flags": store})["volumes"] if v["name"] == "flags")
    assert secret["items"] == [{"key": "token", "path": "LAUNCHDARKLY_API_TOKEN"}]
    assert "API_TOKEN" in refusal({"flags": {"settings": {"LAUNCHDARKLY_API_TOKEN": "secret"}}})
    assert of_kind("Role", {"flags": store}) == []


def test_feature_flag_resources_may_be_read_and_patched_where_flags_are_there() -> None:
    values: Json = {"flags": {"settings": {"OPENFEATURE_FLAGS": "shop/flags"}}}
    values = {**values, "rbac": {"targetNamespaces": ["shop"]}}
    assert the("Role", values)["rules"] == [
        {
            "apiGroups": ["core.openfeature.dev"],
            "resources": ["featureflags"],
            "verbs": ["get", "patch"],
        }
    ]
    assert "api-server" in {volume["name"] for volume in pod(values)["volumes"]}


def test_what_toggle_feature_alone_needs_is_mounted_for_it_alone() -> None:
    values: Json = {**ALL, "unleash": UNLEASH}
    assert "unleash" in {volume["name"] for volume in pod(values)["volumes"]}
    values = {**values, "actions": {"toggle-feature": False, "scale": True}}
    assert "unleash" not in {volume["name"] for volume in pod(values)["volumes"]}
    assert "unleash" not in {mount["name"] for mount in provider(values)["volumeMounts"]}
    assert not [name for name in environment(provider(values)) if name.startswith("UNLEASH_")]


def test_the_journal_is_kept_unless_asked_otherwise() -> None:
    claim = the("PersistentVolumeClaim", {})
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    without: Json = {"persistence": {"enabled": False}}
    assert of_kind("PersistentVolumeClaim", without) == []
    journal_volume = {"name": "passing-journal", "emptyDir": {"sizeLimit": "1Gi"}}
    assert journal_volume in pod(without)["volumes"]
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


@pytest.mark.parametrize(("seconds", "deadline"), [(120, 600), (541, 601), (3600, 3660)])
def test_a_long_start_is_no_failed_rollout(seconds: int, deadline: int) -> None:
    spec = deployment({"startupSeconds": seconds})["spec"]
    assert spec["progressDeadlineSeconds"] == deadline


def _provider_labels(values: Json) -> dict[str, str]:
    labels: dict[str, str] = deployment(values)["spec"]["template"]["metadata"]["labels"]
    return labels


def test_a_remote_plane_gets_its_token_from_a_secret() -> None:
    assert environment(distributor(REMOTE))["KEPTN_API_TOKEN"] == (
        "secret keptn-api-token/keptn-api-token"
    )
    assert "KEPTN_API_TOKEN_FILE" not in environment(container("keptn-remedy", REMOTE))


def test_the_values_that_the_documents_show_are_accepted() -> None:
    values = documented("actions")
    assert environment(provider(values))["REMEDY_ACTIONS"].count(",") == 3
    assert len(of_kind("Role", values)) == 2
    assert environment(provider(values))["UNLEASH_URL_FILE"]


def test_prometheus_gets_in_with_the_values_that_the_documents_show() -> None:
    values = documented("monitoring")
    (ops,) = the("NetworkPolicy", values)["spec"]["ingress"]
    assert [peer for peer in ops["from"] if "namespaceSelector" in peer]
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert the(kind, values)["metadata"]["labels"]["release"]


def test_the_pod_that_restores_a_journal_writes_as_the_provider_reads() -> None:
    spec, ours = journal_pod()["spec"], pod({})
    (one,) = spec["containers"]
    service = provider({})
    user = DEFAULTS["user"]
    security = spec["securityContext"]
    assert [security[word] for word in ("runAsUser", "runAsGroup", "fsGroup")] == [user] * 3
    assert security["fsGroup"] == ours["securityContext"]["fsGroup"]
    assert security["runAsNonRoot"]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    (volume,) = spec["volumes"]
    (journal,) = (each for each in ours["volumes"] if each["name"] == "journal")
    assert volume["persistentVolumeClaim"] == journal["persistentVolumeClaim"]
    assert one["volumeMounts"][0] in service["volumeMounts"]
    assert environment(one)["REMEDY_JOURNAL"] == environment(service)["REMEDY_JOURNAL"]
    assert one["image"] == service["image"]


def test_the_pod_that_restores_a_journal_gets_no_traffic() -> None:
    labels = journal_pod()["metadata"]["labels"]
    for service in of_kind("Service", {}):
        assert not service["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize("release", ["1st", "a.b"])
def test_a_release_whose_name_no_service_can_have_needs_another(release: str) -> None:
    helm: Any = import_module("helm_python")
    with (
        helm.Chart.load(CHART) as chart,
        pytest.raises(helm.HelmError, match="set fullnameOverride"),
    ):
        chart.render({}, name=release, namespace="keptn")
