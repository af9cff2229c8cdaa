"""The chart, rendered by Helm's own code; needs `make deploy-tools` once."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render

Json = dict[str, Any]

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"

needs_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None,
    reason="helm-python-sdk is not installed (make deploy-tools)",
)
needs_schemas = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="kubernetes-validate is not installed (make deploy-tools)",
)

CLUSTER_ACTIONS = ("scale", "rollback", "restart")
TARGETS = {"targetNamespaces": ["sockshop-staging", "sockshop-production"]}
ALL = {"actions": dict.fromkeys(CLUSTER_ACTIONS, True), "rbac": TARGETS}
REMOTE = {"keptn": {"apiEndpoint": "https://keptn.example/api"}}
NATS: Json = {
    "transport": "nats",
    "nats": {"secret": {"name": "remedy-nats", "nkeyKey": "seed", "caKey": "ca.crt"}},
}
OAUTH: Json = {
    "transport": "polling",
    "keptn": {**REMOTE["keptn"], "apiTokenSecret": {"name": ""}},
    "extraEnv": [{"name": "OAUTH_CLIENT_ID", "value": "remedy"}],
}
POSTGRES: Json = {
    "replicas": 3,
    "postgres": {"secret": {"name": "remedy-postgres", "passwordKey": "password"}},
}
UNLEASH: Json = {
    "secret": {"name": "unleash", "clientTokenKey": "client"},
    "environment": "dev=a,prod=b",
}
EVERYTHING: Json = {
    "imagePullSecrets": ["pull"],
    "fullnameOverride": "remedies",
    "extraActions": ["purge-cache"],
    "dropIns": {"configMap": "my-actions"},
    "settings": {"REMEDY_DRY_RUN": True, "REMEDY_MAX_CONCURRENT": 10, "REMEDY_LOG_LEVEL": "debug"},
    "policy": "version: 1\nrules:\n  - {name: flags, undo: {on_closed: true}}\n",
    "pause": {"configMap": "stop-remedies"},
    "operator": {
        "tokenSecret": {"name": "remedy-operator"},
        "operatorsSecret": {"name": "remedy-operators"},
        "agentTokenSecret": {"name": "remedy-agents"},
    },
    "extraEnv": [{"name": "PURGE_CACHE_CDN_URL", "value": "https://cdn.example/"}],
    "extraVolumes": [{"name": "flags", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "flags", "mountPath": "/flags"}],
    "unleash": {
        "url": "http://unleash.flags:4242",
        "project": "shop",
        "onWithoutStrategy": "warn",
        **UNLEASH,
    },
    "kubernetes": {
        "allowZero": True,
        "ownerPolicy": "helm=proceed",
        "settleSeconds": 7.5,
        "releaseFields": True,
    },
    "actions": ALL["actions"],
    "rbac": {
        **TARGETS,
        "argoRollouts": True,
        "keda": True,
        "scaleTargets": [{"apiGroup": "example.com", "resource": "shards"}],
        "extraRules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    },
    "serviceAccount": {"annotations": {"example.com/role": "remedy"}},
    "distributor": {
        "filters": {"projects": ["sockshop"], "stages": ["staging", "production"]},
        "subscribe": {"sequenceEnds": True},
        "extraEnv": [{"name": "OAUTH_CLIENT_ID", "value": "id"}],
    },
    "persistence": {"storageClass": "fast", "keep": False},
    "networkPolicy": {"opsFrom": [], "egress": [{"to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}]}]},
    "monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "podLabels": {"team": "shop"},
    "podAnnotations": {"example.com/a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
VALUES: Mapping[str, Json] = {
    "the defaults": {},
    "all cluster actions": ALL,
    "restart alone": {"actions": {"toggle-feature": False, "restart": True}, "rbac": TARGETS},
    "the whole cluster": {"actions": {"scale": True}, "rbac": {"clusterWide": True}},
    "everything": EVERYTHING,
    "Keptn 0.8.7": {"distributor": {"image": {"tag": "0.8.7"}}},
    "a remote plane": REMOTE,
    "a separate distributor": {**ALL, "distributor": {"separate": True}},
    "a remote, separate distributor": {**REMOTE, "distributor": {"separate": True}},
    "no distributor": {"transport": "nats"},
    "a remote plane without a distributor": {**REMOTE, "transport": "polling"},
    "a remote plane with OAuth alone": OAUTH,
    "NATS with secrets": NATS,
    "no volume": {"persistence": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "several replicas": POSTGRES,
    "several replicas on NATS": {**POSTGRES, **NATS},
    "a claim that exists": {"persistence": {"existingClaim": "mine"}},
    "a policy of its own": {"policyConfigMap": "our-policy"},
    "alerts": {"monitoring": {"rules": {"enabled": True}}},
    "own rights": {
        "actions": {"scale": True},
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
    },
}
each_values = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


def objects(values: Mapping[str, Any]) -> list[Json]:
    """All that the chart makes with these values."""
    texts = {**render.templates(values)}
    texts.pop("NOTES", None)
    return [found for text in texts.values() for found in yaml.safe_load_all(text) if found]


def of_kind(kind: str, values: Mapping[str, Any]) -> list[Json]:
    return [found for found in objects(values) if found["kind"] == kind]


def the(kind: str, values: Mapping[str, Any]) -> Json:
    """The only object of its kind."""
    (found,) = of_kind(kind, values)
    return found


def deployment(values: Mapping[str, Any], part: str = "provider") -> Json:
    (found,) = (
        found
        for found in of_kind("Deployment", values)
        if found["metadata"]["labels"]["keptn-remedy/part"] == part
    )
    return found


def pod(values: Mapping[str, Any], part: str = "provider") -> Json:
    spec: Json = deployment(values, part)["spec"]["template"]["spec"]
    return spec


def container(name: str, values: Mapping[str, Any], part: str = "provider") -> Json:
    (found,) = (each for each in pod(values, part)["containers"] if each["name"] == name)
    return dict(found)


def provider(values: Mapping[str, Any]) -> Json:
    return container("keptn-remedy", values)


def distributor(values: Mapping[str, Any]) -> Json:
    return container("distributor", values)


def environment(of: Json) -> dict[str, str]:
    """The container's variables; a reference instead of a value is told as its last word."""
    return {each["name"]: _value(each) for each in of["env"]}


def _value(variable: Json) -> str:
    if "value" in variable:
        return str(variable["value"])
    source = variable["valueFrom"]
    if "secretKeyRef" in source:
        return "secret {name}/{key}".format(**source["secretKeyRef"])
    return re.sub(r"metadata.labels\['(.*)'\]", r"label \1", source["fieldRef"]["fieldPath"])


def granted(rules: list[Json]) -> Iterator[tuple[str, str, str]]:
    """Each right that rules give, as group, resource and verb."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield from ((group, resource, verb) for verb in rule["verbs"])


def journal_pod() -> Json:
    """The pod in which journals are backed up and restored."""
    return dict(yaml.safe_load((render.DEPLOY / "journal-pod.yaml").read_text("utf-8")))


def documented(word: str) -> Json:
    """The block of docs/operating.md that has this key."""
    page = OPERATING.read_text("utf-8")
    shown = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    (found,) = (each for each in shown if word in each)
    return dict(found)


def refusal(values: Mapping[str, Any]) -> str:
    """What Helm says against these values."""
    helm: Any = import_module("helm_python")
    with pytest.raises(helm.HelmError) as caught:
        objects(values)
    return str(caught.value)
