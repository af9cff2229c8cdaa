"""The plain manifests are what the chart renders, and what each release of Kubernetes takes."""

from importlib import import_module
from typing import Any

import pytest
import yaml

from deploy import render
from deploy.render import DEPLOY, MANIFESTS, manifest
from tests.deploy.charts import (
    EVERYTHING,
    REMOTE,
    TARGETS,
    UNLEASH,
    VALUES,
    Json,
    each_values,
    journal_pod,
    needs_helm,
    needs_schemas,
    objects,
)

OF_THE_PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
ON_CLOSED = EVERYTHING["policy"]
each_manifest = pytest.mark.parametrize("name", MANIFESTS)


def documents(name: str) -> list[Json]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


@needs_helm
@each_manifest
def test_a_manifest_is_up_to_date(name: str) -> None:
    assert (DEPLOY / name).read_text("utf-8") == manifest(name), "make manifests"


@needs_helm
@needs_schemas
@each_values
def test_each_release_of_kubernetes_takes_what_the_chart_makes(values: Json) -> None:
    complaints = [each for found in objects(values) for each in complaints_about(found)]
    assert complaints == []


@needs_schemas
@each_manifest
def test_each_release_of_kubernetes_takes_a_manifest(name: str) -> None:
    assert [each for found in documents(name) for each in complaints_about(found)] == []


@needs_schemas
def test_each_release_of_kubernetes_takes_the_pod_that_restores_a_journal() -> None:
    assert complaints_about(journal_pod()) == []


@needs_schemas
def test_an_unknown_field_would_be_noticed() -> None:
    found = documents("service.yaml")[-1]
    found["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privilege"] = True
    assert complaints_about(found)


def complaints_about(found: Json) -> list[str]:
    """What the strict schemas of 1.25 to the newest say against it."""
    if found["apiVersion"] == OF_THE_PROMETHEUS_OPERATOR:
        return []
    validation: Any = import_module("kubernetes_validate")
    complaints = []
    for version in validation.utils.all_versions():
        try:
            validation.validate(found, version, strict=True)
        except validation.ValidationError as error:
            place = ".".join(map(str, error.path))
            complaints.append(f"{version} {found['kind']} {place}: {error.message}")
    return complaints


@needs_schemas
def test_the_schemas_begin_with_1_25() -> None:
    versions = import_module("kubernetes_validate").utils.all_versions()
    assert versions[0].startswith("1.25")
    assert len(versions) >= 13


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "rbac.yaml"])
def test_a_manifest_can_be_applied_to_any_namespace(name: str) -> None:
    assert [found for found in documents(name) if "namespace" in found["metadata"]] == []


def test_the_rights_are_in_the_target_namespace() -> None:
    places = {found["metadata"]["namespace"] for found in documents("rbac.yaml")}
    assert places == {"sockshop-production"}


@each_manifest
def test_images_come_from_the_registry_of_the_cluster(name: str) -> None:
    images = [
        each["image"]
        for found in documents(name)
        if found["kind"] == "Deployment"
        for each in found["spec"]["template"]["spec"]["containers"]
    ]
    hosts = [image.split("/")[0] for image in images if "/" in image]
    assert not [host for host in hosts if "." in host or ":" in host]


def notes(values: Json) -> str:
    return render.templates(values)["NOTES"]


@needs_helm
def test_the_notes_tell_what_may_be_done() -> None:
    assert "restart, rollback, scale, toggle-feature, purge-cache" in notes(EVERYTHING)
    assert "sockshop-staging, sockshop-production" in notes(EVERYTHING)
    assert "WARNING" not in notes(EVERYTHING)


@needs_helm
def test_the_notes_show_how_to_stop_everything() -> None:
    assert "create configmap keptn-remedy-pause --from-literal=pause=" in notes({})
    assert "create configmap stop-remedies --from-literal=pause=" in notes(EVERYTHING)


@needs_helm
@pytest.mark.parametrize(
    ("actions", "tried"),
    [
        (["scale", "restart"], "scale --value '\"+1\"'"),
        (["rollback", "restart"], "rollback"),
        (["restart"], "restart"),
    ],
)
def test_the_notes_show_how_to_try_what_is_on(actions: list[str], tried: str) -> None:
    told = notes({"actions": dict.fromkeys(actions, True), "rbac": TARGETS})
    assert f"remedy try {tried} --project" in told
    assert "remedy try" not in notes({})


@needs_helm
@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({}, "toggle-feature is off, because it has no Unleash token"),
        ({"unleash": UNLEASH}, "toggle-feature is off, because it has no Unleash address"),
        ({**VALUES["own rights"]}, "rbac.create is false: the ServiceAccount default"),
        (
            {"policy": ON_CLOSED, **REMOTE},
            "nothing is undone when a problem closes: a remote plane",
        ),
        (
            {"policy": ON_CLOSED, "distributor": {"subscribe": {"problems": False}}},
            "nothing is undone when a problem closes: distributor.subscribe.problems is false",
        ),
    ],
)
def test_the_notes_warn_of_what_is_missing(values: Json, warning: str) -> None:
    assert f"WARNING: {warning}" in notes(values)


@needs_helm
@pytest.mark.parametrize(
    "values",
    [
        {"unleash": {**UNLEASH, "url": "http://unleash:4242"}},
        {"unleash": {"secret": {**UNLEASH["secret"], "urlKey": "url"}}},
        {"extraEnv": [{"name": "FLAGD_FILE", "value": "/flags/flags.json"}]},
        {"actions": {"toggle-feature": False}, "extraActions": ["purge-cache"]},
    ],
)
def test_the_notes_do_not_warn_without_a_reason(values: Json) -> None:
    assert "WARNING" not in notes(values)


def test_what_is_to_be_replaced_in_the_rights_is_said_on_top() -> None:
    text = (DEPLOY / "rbac.yaml").read_text("utf-8")
    header = text[: text.index("---")]
    for found in documents("rbac.yaml"):
        for subject in found.get("subjects", ()):
            assert f"`namespace: {subject['namespace']}`" in header
        assert found["metadata"]["namespace"] in header
