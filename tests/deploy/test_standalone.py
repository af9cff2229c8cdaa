"""Without Keptn: sources, a secret for each, remedies and the intake port reach the provider."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from keptn_remedy.standalone.sources import SourcesFile
from tests.deploy.charts import (
    Json,
    environment,
    needs_helm,
    of_kind,
    pod,
    provider,
    refusal,
    the,
)

pytestmark = needs_helm

FOLDER = "/etc/keptn-remedy/source-secrets"
PLACE = {name: {"label": name} for name in ("project", "stage", "service")}
SOURCE: Json = {**PLACE, "allow": {"projects": ["sockshop"]}, "confirm": "off"}
REMEDY = "sockshop/production/carts/remediation.yaml"
STANDALONE: Json = {
    "sources": {
        "sources": {
            "alerts": {**SOURCE, "kind": "grafana"},
            "pager": {**SOURCE, "kind": "pagerduty"},
        },
        "prometheus": {"url": "http://prometheus:9090"},
        "ladder": {"wait": "5m"},
    },
    "secrets": {"alerts": {"name": "remedy-alerts"}, "pager": {"name": "pager", "key": "signing"}},
    "remediations": {REMEDY: "apiVersion: spec.keptn.sh/0.1.4\n", "sockshop/slo.yaml": "a: 1\n"},
}
VALUES: Json = {"transport": "standalone", "standalone": STANDALONE}


def with_(**more: Any) -> Json:
    return {**VALUES, "standalone": {**STANDALONE, **more}}


def test_sources_secrets_and_remedies_are_files_that_the_provider_reads() -> None:
    written = the("ConfigMap", VALUES)
    found = SourcesFile.load(written["data"]["sources.yaml"])
    assert str(found.sources["alerts"].secret_file) == f"{FOLDER}/alerts"
    assert found.ladder.wait == 300
    variables = environment(provider(VALUES))
    mounts = {each["name"]: each["mountPath"] for each in provider(VALUES)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod(VALUES)["volumes"]}
    assert variables["REMEDY_TRANSPORT"] == "standalone"
    assert variables["REMEDY_SOURCES"] == f"{mounts['sources']}/sources.yaml"
    assert variables["REMEDY_REMEDIATIONS"] == mounts["remediations"]
    assert variables["REMEDY_INTAKE_HOST"] == variables["REMEDY_OPS_HOST"]
    assert not {name for name in variables if "KEPTN" in name or name == "REMEDY_EVENT_URL"}
    items = volumes["remediations"]["configMap"]["items"]
    paths = {each["path"]: written["data"][each["key"]] for each in items}
    assert paths == STANDALONE["remediations"]
    assert mounts["source-secrets"] == FOLDER
    assert [each["secret"] for each in volumes["source-secrets"]["projected"]["sources"]] == [
        {"name": "remedy-alerts", "items": [{"key": "secret", "path": "alerts"}]},
        {"name": "pager", "items": [{"key": "signing", "path": "pager"}]},
    ]


def test_there_is_no_distributor_and_the_intake_port_is_open_to_whom_it_names() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    values = {**VALUES, "networkPolicy": {"intakeFrom": peers, "egress": []}}
    assert [each["name"] for each in pod(values)["containers"]] == ["keptn-remedy"]
    ports = {each["name"]: each["port"] for each in the("Service", values)["spec"]["ports"]}
    assert ports == {"ops": 8090, "intake": 8070}
    rules = the("NetworkPolicy", values)["spec"]["ingress"]
    intake = {"port": "intake", "protocol": "TCP"}
    assert [each["from"] for each in rules if each["ports"] == [intake]] == [peers]
    assert of_kind("Ingress", values) == []


def test_an_ingress_leads_to_the_intake_port_alone_and_needs_a_certificate() -> None:
    ingress = {"host": "remedy.example", "tlsSecret": "remedy-tls", "className": "nginx"}
    [made] = of_kind("Ingress", with_(ingress=ingress))
    [rule] = made["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert (path["path"], path["backend"]["service"]["port"]) == ("/intake/", {"name": "intake"})
    assert made["spec"]["tls"] == [{"hosts": ["remedy.example"], "secretName": "remedy-tls"}]
    assert "tlsSecret" in refusal(with_(ingress={"host": "remedy.example"}))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (with_(sources={}), "standalone.sources"),
        (with_(secrets={}), "standalone.secrets.alerts"),
        (with_(remediations={"../remediation.yaml": "a: 1"}), "remediation"),
        ({"extraEnv": [{"name": "REMEDY_SOURCES", "value": "x"}]}, "REMEDY_SOURCES"),
    ],
)
def test_what_would_not_start_is_refused(values: Json, why: str) -> None:
    assert why in refusal(values)


def test_with_keptn_there_is_nothing_of_it() -> None:
    rendered = yaml.safe_dump([the("Service", {}), the("NetworkPolicy", {}), pod({})])
    assert "intake" not in rendered
    assert "sources" not in [each["name"] for each in pod({})["volumes"]]
