"""The distributor is told what its releases read, and answers find their way to Keptn."""

import pytest
import yaml

from keptn_remedy.events import TRIGGERED
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.support import variables
from tests.deploy.charts import (
    NATS,
    OAUTH,
    REMOTE,
    Json,
    container,
    deployment,
    distributor,
    environment,
    needs_helm,
    pod,
    provider,
    refusal,
)

pytestmark = needs_helm

REGISTRATION = {
    "VERSION": "label app.kubernetes.io/version",
    "LOCATION": "label app.kubernetes.io/component",
    "K8S_DEPLOYMENT_NAME": "label app.kubernetes.io/name",
    "K8S_NAMESPACE": "metadata.namespace",
    "K8S_POD_NAME": "metadata.name",
    "K8S_NODE_NAME": "spec.nodeName",
}
PROXY = {"API_PROXY_PORT": "8081"}
POLICY = """\
version: 1
rules:
  - {name: everywhere, cooldown: 5m}
  - {name: flags, match: {action: toggle-feature}, undo: {on_closed: true}}
"""
PROBLEMS, ENDS = "sh.keptn.events.problem", "sh.keptn.event.*.remediation.finished"
ALL_ENDS = "sh.keptn.event.*.*.finished"
SEPARATE: Json = {"distributor": {"separate": True}}


@pytest.mark.parametrize(
    ("tag", "nats"),
    [
        ("1.4.5", "nats://keptn-nats"),
        ("0.14.0", "nats://keptn-nats"),
        ("0.13.6", "nats://keptn-nats-cluster"),
        ("0.8.7", "nats://keptn-nats-cluster"),
        ("my-build", "nats://keptn-nats"),
    ],
)
def test_beside_keptn_it_is_told_exactly_this(tag: str, nats: str) -> None:
    found = distributor({"distributor": {"image": {"tag": tag}}})
    assert found["image"] == f"keptn/distributor:{tag}"
    assert environment(found) == {
        "PUBSUB_URL": nats,
        "PUBSUB_RECIPIENT": "127.0.0.1",
        "DISTRIBUTOR_VERSION": tag,
        "PUBSUB_TOPIC": f"{TRIGGERED},{ENDS}",
        **PROXY,
        **REGISTRATION,
    }


def test_far_from_keptn_it_polls() -> None:
    assert environment(distributor(REMOTE)) == {
        "KEPTN_API_ENDPOINT": "https://keptn.example/api",
        "KEPTN_API_TOKEN": "secret keptn-api-token/keptn-api-token",
        "HTTP_SSL_VERIFY": "true",
        "PUBSUB_RECIPIENT": "127.0.0.1",
        "DISTRIBUTOR_VERSION": "1.4.5",
        "PUBSUB_TOPIC": TRIGGERED,
        **PROXY,
        **REGISTRATION,
    }


@pytest.mark.parametrize(
    ("values", "location"),
    [
        ({}, "control-plane"),
        (REMOTE, "remote-execution-plane"),
        ({"distributor": {"location": "Linz"}}, "Linz"),
    ],
)
def test_the_labels_that_it_registers_are_there(values: Json, location: str) -> None:
    labels = deployment(values)["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == deployment(values)["metadata"]["name"]
    assert labels["app.kubernetes.io/component"] == location
    assert labels["app.kubernetes.io/version"] == "0.1.0"


def test_a_filter_is_a_list_with_commas() -> None:
    found = distributor({"distributor": {"filters": {"stages": ["staging", "production"]}}})
    told = environment(found)
    assert told["STAGE_FILTER"] == "staging,production"
    assert not {"PROJECT_FILTER", "SERVICE_FILTER"} & set(told)


def test_what_was_not_delivered_is_taken_up_by_the_same_filters() -> None:
    filters = {"projects": ["sockshop"], "stages": ["staging", "production"], "services": ["carts"]}
    for separate in (False, True):
        values: Json = {"distributor": {"filters": filters, "separate": separate}}
        part = "distributor" if separate else "provider"
        delivered = environment(container("distributor", values, part))
        taken_up = environment(provider(values))
        names = [f"{name}_FILTER" for name in ("PROJECT", "STAGE", "SERVICE")]
        assert {name: taken_up[name] for name in names} == {name: delivered[name] for name in names}
        read = variables.build(KeptnSettings, "", {name: taken_up[name] for name in names})
        assert read.stage_filter == ("staging", "production")


@pytest.mark.parametrize(
    ("values", "topics"),
    [
        ({}, [ENDS]),
        ({"policy": POLICY.replace("true", "false")}, [ENDS]),
        ({"policy": "version: 1\n"}, [ENDS]),
        ({"policy": POLICY}, [PROBLEMS, ENDS]),
        ({"policy": yaml.safe_load(POLICY)}, [PROBLEMS, ENDS]),
        ({"policy": POLICY, "distributor": {"subscribe": {"problems": False}}}, [ENDS]),
        ({"policy": POLICY, "distributor": {"separate": True}}, [PROBLEMS, ENDS]),
        ({"policy": POLICY, **REMOTE}, []),
        ({"policyConfigMap": "ours"}, [ENDS]),
        ({"distributor": {"subscribe": {"problems": True}}}, [PROBLEMS, ENDS]),
        ({"distributor": {"subscribe": {"sequenceEnds": True}}}, [ALL_ENDS]),
        ({"distributor": {"subscribe": {"sequenceEnds": False}}}, []),
        (
            {"distributor": {"subscribe": {"sequenceEnds": ["remediation", "heal"]}}},
            [ENDS, ENDS.replace("remediation", "heal")],
        ),
    ],
    ids=str,
)
def test_it_subscribes_to_what_is_needed(values: Json, topics: list[str]) -> None:
    part = "distributor" if values.get("distributor", {}).get("separate") else "provider"
    found = environment(container("distributor", values, part))["PUBSUB_TOPIC"]
    assert found.split(",") == [TRIGGERED, *topics]


def test_it_subscribes_to_the_tasks_that_the_actions_carry_out() -> None:
    subscribe = {"tasks": ["action", "get-sli"], "sequenceEnds": False}
    found = environment(container("distributor", {"distributor": {"subscribe": subscribe}}))
    assert found["PUBSUB_TOPIC"] == f"{TRIGGERED},sh.keptn.event.get-sli.triggered"


def test_it_subscribes_to_what_subscribers_receive() -> None:
    events = ["sh.keptn.event.evaluation.finished", TRIGGERED, "sh.keptn.event.*.delivery.>"]
    subscribe = {"events": events, "sequenceEnds": False}
    found = environment(container("distributor", {"distributor": {"subscribe": subscribe}}))
    assert found["PUBSUB_TOPIC"] == f"{TRIGGERED},{events[0]},{events[2]}"


@pytest.mark.parametrize(
    "subscribe",
    [{"problems": True}, {"sequenceEnds": True}, {"events": ["sh.keptn.event.test.finished"]}],
)
def test_a_remote_plane_gets_nothing_but_triggers(subscribe: Json) -> None:
    values: Json = {**REMOTE, "distributor": {"subscribe": subscribe}}
    assert "receives only triggered events" in refusal(values)


def test_answers_go_to_the_sidecar() -> None:
    values = {"distributor": {"proxyPort": 9081}}
    assert environment(distributor(values))["API_PROXY_PORT"] == "9081"
    assert environment(provider(values))["REMEDY_EVENT_URL"] == "http://localhost:9081/event"


@pytest.mark.parametrize(
    ("values", "api"),
    [
        (SEPARATE, "http://api-gateway-nginx/api"),
        ({**SEPARATE, **REMOTE}, "https://keptn.example/api"),
    ],
)
def test_without_a_sidecar_answers_go_to_keptns_api_with_its_token(values: Json, api: str) -> None:
    told = environment(provider(values))
    assert told["REMEDY_EVENT_URL"] == f"{api}/v1/event"
    assert told["REMEDY_KEPTN_API"] == api
    token = told["KEPTN_API_TOKEN_FILE"]
    mounts = [mount["mountPath"] for mount in provider(values)["volumeMounts"]]
    assert token.removesuffix("/api-token") in mounts


@pytest.mark.parametrize("separate", [False, True])
def test_a_slash_behind_keptns_api_does_no_harm(separate: bool) -> None:
    values: Json = {
        "keptn": {"apiEndpoint": "https://keptn.example/api/"},
        "distributor": {"separate": separate},
    }
    part = "distributor" if separate else "provider"
    told = environment(container("distributor", values, part))
    assert told["KEPTN_API_ENDPOINT"] == "https://keptn.example/api"
    if separate:
        assert environment(provider(values))["REMEDY_KEPTN_API"] == "https://keptn.example/api"


def test_a_digest_is_no_part_of_the_release_that_it_tells() -> None:
    digest = f"0.8.7@sha256:{'a' * 64}"
    found = distributor({"distributor": {"image": {"tag": digest}}})
    assert found["image"] == f"keptn/distributor:{digest}"
    assert environment(found)["DISTRIBUTOR_VERSION"] == "0.8.7"
    assert environment(found)["PUBSUB_URL"] == "nats://keptn-nats-cluster"


def test_a_separate_distributor_delivers_to_the_service() -> None:
    told = environment(container("distributor", SEPARATE, "distributor"))
    assert told["PUBSUB_RECIPIENT"] == "keptn-remedy"
    assert environment(provider(SEPARATE))["REMEDY_HOST"] == "0.0.0.0"  # noqa: S104  as asked
    assert [each["name"] for each in _containers(SEPARATE)] == ["keptn-remedy"]


def _containers(values: Json) -> list[Json]:
    found: list[Json] = deployment(values)["spec"]["template"]["spec"]["containers"]
    return found


def test_on_nats_there_is_no_distributor_and_no_event_port() -> None:
    values: Json = {"transport": "nats", "drainSeconds": 25}
    assert [each["name"] for each in _containers(values)] == ["keptn-remedy"]
    ours, told = provider(values), environment(provider(values))
    assert told["REMEDY_TRANSPORT"] == "nats"
    assert told["PUBSUB_URL"] == "nats://keptn-nats"
    assert told["REMEDY_KEPTN_API"] == "http://api-gateway-nginx/api"
    assert told["KEPTN_API_TOKEN_FILE"] == "/etc/keptn-remedy/keptn/api-token"
    assert "REMEDY_EVENT_URL" not in told
    assert "lifecycle" not in ours
    assert [each["name"] for each in ours["ports"]] == ["ops"]
    assert pod(values)["terminationGracePeriodSeconds"] == 30


def test_a_remote_plane_needs_no_distributor() -> None:
    values: Json = {
        **REMOTE,
        "transport": "polling",
        "distributor": {"filters": {"stages": ["staging"]}},
    }
    assert [each["name"] for each in _containers(values)] == ["keptn-remedy"]
    told = environment(provider(values))
    assert told["REMEDY_TRANSPORT"] == "polling"
    assert told["KEPTN_API_ENDPOINT"] == "https://keptn.example/api"
    assert told["KEPTN_API_TOKEN_FILE"] == "/etc/keptn-remedy/keptn/api-token"
    assert told["HTTP_SSL_VERIFY"] == "true"
    assert told["STAGE_FILTER"] == "staging"
    assert not {"PUBSUB_URL", "REMEDY_KEPTN_API", "REMEDY_EVENT_URL"} & set(told)
    labels = deployment(values)["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "remote-execution-plane"


@pytest.mark.parametrize("values", [{"transport": "nats"}, {**REMOTE, "transport": "polling"}])
def test_without_a_distributor_the_provider_is_told_what_it_registers(values: Json) -> None:
    told = environment(provider(values))
    assert {name: told[name] for name in REGISTRATION if name != "VERSION"} == {
        name: value for name, value in REGISTRATION.items() if name != "VERSION"
    }


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"transport": "polling"}, "needs keptn.apiEndpoint"),
        ({**REMOTE, "transport": "nats"}, "use `transport: polling`"),
    ],
)
def test_a_transport_that_does_not_reach_keptn_is_refused(values: Json, why: str) -> None:
    assert why in refusal(values)


def test_with_oauth_alone_no_secret_with_a_token_is_needed() -> None:
    of_pod = pod(OAUTH)
    assert "KEPTN_API_TOKEN_FILE" not in environment(provider(OAUTH))
    assert "keptn" not in [each["name"] for each in of_pod["volumes"]]
    assert "keptn" not in [each["name"] for each in provider(OAUTH)["volumeMounts"]]
    for transport in ("distributor", "nats"):
        without: Json = {"transport": transport, "keptn": {"apiTokenSecret": {"name": ""}}}
        assert "does without a token" in refusal(without)


def test_a_distributor_of_its_own_and_none_at_all_contradict_each_other() -> None:
    assert "there is no distributor" in refusal({"transport": "nats", **SEPARATE})


def test_what_nats_asks_for_is_mounted_as_files() -> None:
    told = environment(provider(NATS))
    assert told["REMEDY_NATS_STREAM"] == "keptn"
    assert {name: value for name, value in told.items() if "/nats/" in value} == {
        "REMEDY_NATS_NKEY_FILE": "/etc/keptn-remedy/nats/nkey",
        "REMEDY_NATS_CA_FILE": "/etc/keptn-remedy/nats/ca",
    }
    volumes = deployment(NATS)["spec"]["template"]["spec"]["volumes"]
    (items,) = (each["secret"]["items"] for each in volumes if each["name"] == "nats")
    assert items == [{"key": "seed", "path": "nkey"}, {"key": "ca.crt", "path": "ca"}]
