"""The policy, the pause and the operators' token reach the provider as files that may change."""

import json
from typing import Any

import pytest
import yaml

from deploy.render import DEPLOY
from keptn_remedy.guardrails.policy import Policy
from tests.deploy.charts import (
    OPERATING,
    VALUES,
    Json,
    documented,
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

EXAMPLE = (DEPLOY.parent / "examples" / "policy.yaml").read_text("utf-8")
# As Helm reads it: dates are text.
AS_YAML: Json = json.loads(json.dumps(yaml.safe_load(EXAMPLE), default=str))
TOKEN: Json = {"operator": {"tokenSecret": {"name": "keptn-remedy-operator"}}}


def volume(name: str, values: Json) -> Json | None:
    """What is mounted under this name, with where the provider sees it."""
    volumes = [each for each in pod(values)["volumes"] if each["name"] == name]
    mounts = [each for each in provider(values)["volumeMounts"] if each["name"] == name]
    assert len(volumes) == len(mounts) <= 1
    return {**volumes[0], **mounts[0]} if volumes else None


def mounted(name: str, values: Json) -> Json:
    found = volume(name, values)
    assert found
    return found


@pytest.mark.parametrize("policy", [EXAMPLE, AS_YAML], ids=["text", "YAML"])
def test_the_policy_is_mounted_as_it_was_given(policy: Any) -> None:
    values = {"policy": policy}
    written = the("ConfigMap", values)
    assert Policy.load(written["data"]["policy.yaml"]) == Policy.load(EXAMPLE)
    found = mounted("policy", values)
    assert found["configMap"]["name"] == written["metadata"]["name"] == "keptn-remedy-policy"
    assert environment(provider(values))["REMEDY_POLICY"] == f"{found['mountPath']}/policy.yaml"


@pytest.mark.parametrize(
    "text", [EXAMPLE, "  version: 1\n  rules: []", "version: 1  \n\nrules: []\n\n", "{version: 1}"]
)
def test_a_policy_that_is_text_keeps_each_character(text: str) -> None:
    assert the("ConfigMap", {"policy": text})["data"] == {"policy.yaml": text}


def test_a_policy_may_come_from_elsewhere() -> None:
    values = {"policyConfigMap": "our-policy"}
    assert of_kind("ConfigMap", values) == []
    assert mounted("policy", values)["configMap"]["name"] == "our-policy"
    assert "exclude each other" in refusal({**values, "policy": EXAMPLE})


@pytest.mark.parametrize("policy", [None, "", " \n", {}], ids=str)
def test_without_a_policy_there_is_nothing_to_mount(policy: Any) -> None:
    values = {"policy": policy}
    assert of_kind("ConfigMap", values) == []
    assert volume("policy", values) is None
    assert "REMEDY_POLICY" not in environment(provider(values))


@pytest.mark.parametrize("policy", ["rules: [", "- name: flags", "just words"])
def test_a_policy_that_is_no_yaml_is_refused(policy: str) -> None:
    assert "remedy policy check" in refusal({"policy": policy})


@each_values
def test_what_may_change_is_mounted_as_a_folder(values: Json) -> None:
    mounts = provider(values)["volumeMounts"]
    assert [each["name"] for each in mounts if "subPath" in each or "subPathExpr" in each] == []
    readable = {each["name"] for each in mounts if each.get("readOnly")}
    assert {"policy", "pause", "operator"} & {each["name"] for each in mounts} <= readable


def test_a_changed_policy_restarts_nothing() -> None:
    before, after = (
        next(each for each in objects({"policy": policy}) if each["kind"] == "Deployment")
        for policy in ("version: 1\n", EXAMPLE.replace("on_closed: true", "after: 2h"))
    )
    assert before == after


@each_values
def test_anybody_who_makes_a_config_map_can_stop_everything(values: Json) -> None:
    found = mounted("pause", values)
    assert found["configMap"]["optional"]
    assert environment(provider(values))["REMEDY_PAUSE_FILE"] == f"{found['mountPath']}/pause"
    names = [each["metadata"]["name"] for each in of_kind("ConfigMap", values)]
    assert found["configMap"]["name"] not in names  # else `kubectl create` would fail


def test_the_pause_has_a_name_of_its_own() -> None:
    assert mounted("pause", {})["configMap"]["name"] == "keptn-remedy-pause"
    named: Json = {"fullnameOverride": "remedies"}
    assert mounted("pause", named)["configMap"]["name"] == "remedies-pause"
    named = {"pause": {"configMap": "stop"}}
    assert mounted("pause", named)["configMap"]["name"] == "stop"


def test_the_operators_token_is_a_file_for_the_provider_alone() -> None:
    found = mounted("operator", TOKEN)
    assert found["secret"] == {
        "secretName": "keptn-remedy-operator",
        "defaultMode": 0o400,
        "items": [{"key": "token", "path": "token"}],
    }
    told = environment(provider(TOKEN))
    assert told["REMEDY_OPERATOR_TOKEN_FILE"] == f"{found['mountPath']}/token"
    group = provider(TOKEN)["securityContext"]["runAsGroup"]
    assert pod(TOKEN)["securityContext"]["fsGroup"] == group  # which may read it, too
    (distributor,) = (each for each in pod(TOKEN)["containers"] if each["name"] == "distributor")
    assert "volumeMounts" not in distributor


def test_the_people_of_the_page_are_a_file_for_the_provider_alone() -> None:
    values: Json = {"operator": {"operatorsSecret": {"name": "people"}}}
    found = mounted("operators", values)
    assert found["secret"]["secretName"] == "people"
    assert found["secret"]["defaultMode"] == 0o400
    told = environment(provider(values))
    assert told["REMEDY_OPERATORS_FILE"] == f"{found['mountPath']}/operators.yaml"
    assert "REMEDY_OPERATORS_FILE" not in environment(provider({}))


def test_without_a_token_there_are_no_orders() -> None:
    assert volume("operator", {}) is None
    assert "REMEDY_OPERATOR_TOKEN_FILE" not in environment(provider({}))


@pytest.mark.parametrize("values", [{}, VALUES["a separate distributor"]], ids=["sidecar", "apart"])
def test_orders_open_no_port(values: Json) -> None:
    for kind in ("NetworkPolicy", "Service"):
        assert the(kind, values) == the(kind, {**values, **TOKEN, "policy": EXAMPLE})


def test_the_plain_manifests_have_a_policy_that_changes_nothing() -> None:
    for name in ("service.yaml", "separate-distributor/service.yaml"):
        found = list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))
        (written,) = (each for each in found if each["kind"] == "ConfigMap")
        assert Policy.load(written["data"]["policy.yaml"]).rules == ()


def test_the_policy_that_the_documents_show_is_one() -> None:
    values = documented("policy")
    assert Policy.load(the("ConfigMap", values)["data"]["policy.yaml"]).rules
    assert mounted("operator", values)["secret"]["secretName"]
    page = OPERATING.read_text("utf-8")
    pause = mounted("pause", values)["configMap"]["name"]
    assert f"kubectl create configmap {pause} -n keptn --from-literal=pause=" in page
