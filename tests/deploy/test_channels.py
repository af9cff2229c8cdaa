"""The channels of notifications reach the provider as a file, and so do their secrets."""

from pathlib import Path

from keptn_remedy.notifications.channels_file import ChannelsFile, PagerDutyEntry
from tests.deploy.charts import Json, environment, needs_helm, of_kind, pod, provider, refusal, the

pytestmark = needs_helm

FOLDER = "/etc/keptn-remedy/channel-secrets"
CHANNELS: Json = {
    "slack": {"type": "slack", "url_file": f"{FOLDER}/slack-url", "at_most": 5},
    "pager": {"type": "pagerduty", "key_file": f"{FOLDER}/pagerduty-key"},
}
VALUES: Json = {
    "notifications": {
        "channels": CHANNELS,
        "secret": "remedy-channels",
        "notify": ["slack", "pager:approval+suspended"],
        "pageUrl": "https://remedy.example",
    }
}


def test_the_channels_are_a_file_that_the_provider_reads() -> None:
    written = the("ConfigMap", VALUES)
    found = ChannelsFile.load(written["data"]["channels.yaml"])
    assert found.channels["slack"].at_most == 5
    pager = found.channels["pager"]
    assert isinstance(pager, PagerDutyEntry)
    assert pager.key_file == Path(FOLDER) / "pagerduty-key"
    variables = environment(provider(VALUES))
    mounts = {each["name"]: each["mountPath"] for each in provider(VALUES)["volumeMounts"]}
    assert variables["REMEDY_CHANNELS"] == f"{mounts['channels']}/channels.yaml"
    assert variables["REMEDY_NOTIFY"] == "slack,pager:approval+suspended"
    assert variables["REMEDY_PAGE_URL"] == "https://remedy.example"
    volumes = {each["name"]: each for each in pod(VALUES)["volumes"]}
    assert volumes["channels"]["configMap"]["name"] == written["metadata"]["name"]
    assert volumes["channel-secrets"]["secret"]["secretName"] == "remedy-channels"
    assert mounts["channel-secrets"] == FOLDER


def test_a_change_of_the_channels_restarts_the_pod() -> None:
    def mark(at_most: int) -> str:
        slack = {"channels": {"slack": {**CHANNELS["slack"], "at_most": at_most}}}
        metadata = the("Deployment", {"notifications": slack})["spec"]["template"]["metadata"]
        return str(metadata["annotations"]["keptn-remedy/channels"])

    assert mark(5) == mark(5) != mark(6)


def test_without_channels_there_is_nothing_of_them() -> None:
    assert of_kind("ConfigMap", {}) == []
    assert {"REMEDY_CHANNELS", "REMEDY_NOTIFY", "REMEDY_PAGE_URL"} - set(
        environment(provider({}))
    ) == {"REMEDY_CHANNELS", "REMEDY_NOTIFY", "REMEDY_PAGE_URL"}
    assert not [each for each in pod({})["volumes"] if each["name"].startswith("channel")]


def test_a_channel_without_a_type_and_a_variable_twice_are_refused() -> None:
    assert "type" in refusal({"notifications": {"channels": {"slack": {"url_file": "/x"}}}})
    twice = {"extraEnv": [{"name": "REMEDY_NOTIFY", "value": "slack"}]}
    assert "REMEDY_NOTIFY is set by the chart" in refusal(twice)
