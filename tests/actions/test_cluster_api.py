"""`ClusterApi` against a peer that answers what real API servers seldom do."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy.testing import HttpPeer, http_peer
from keptn_remedy_actions.cluster import DEPLOYMENT, POD, Ref, api
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.api import (
    JSON_PATCH,
    ClusterApi,
    Conflict,
    Forbidden,
    NotFound,
    Unprocessable,
    Unreachable,
)
from keptn_remedy_actions.cluster.settings import KubernetesSettings

CARTS = Ref(DEPLOYMENT, "shop", "carts")


def kubeconfig(
    folder: Path,
    url: str,
    token: str = "secret-of-ours",  # noqa: S107  of a peer
    **cluster: str,
) -> str:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url.rstrip("/"), **cluster}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def cluster(peer: HttpPeer, tmp_path: Path) -> AsyncIterator[ClusterApi]:
    cluster = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig(tmp_path, peer.url)))
    yield cluster
    await cluster.close()


def refusal(status: int, message: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": status, "message": message, "reason": "Why", **details}


async def test_requests_say_who_we_are_and_what_we_change(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    peer.answer(json={"metadata": {}}, times=None)
    await cluster.get(CARTS, "scale")
    await cluster.patch(CARTS, JSON_PATCH, [{"op": "add", "path": "/spec/x", "value": 1}])
    looked, changed = peer.requests
    assert looked.path == "/apis/apps/v1/namespaces/shop/deployments/carts/scale"
    assert looked.headers["Authorization"] == "Bearer secret-of-ours"
    assert looked.headers["User-Agent"] == "keptn-remedy"
    assert changed.headers["Content-Type"] == JSON_PATCH
    assert changed.query["fieldManager"] == "keptn-remedy"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentError),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Unprocessable),
        (429, TemporaryError),
        (500, TemporaryError),
        (503, TemporaryError),
    ],
)
async def test_errors_are_temporary_or_permanent_by_their_status(
    cluster: ClusterApi, peer: HttpPeer, status: int, kind: type[Exception]
) -> None:
    peer.answer(status, json=refusal(status, "not like this"))
    with pytest.raises(kind, match=r"get deployments\.apps carts in shop: .*not like this"):
        await cluster.get(CARTS)


async def test_the_pause_that_the_api_server_asks_for_is_kept(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    peer.answer(429, json=refusal(429, "slow down"), headers={"Retry-After": "7"})
    with pytest.raises(TemporaryError) as caught:
        await cluster.get(CARTS)
    assert caught.value.delay == 7


async def test_causes_are_told_and_an_echoed_object_is_not(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    causes = [{"field": "spec.replicas", "message": "must be at least 0"}]
    peer.answer(422, json=refusal(422, "long", details={"causes": causes}))
    with pytest.raises(Unprocessable, match=r"in shop: spec\.replicas: must be at least 0$"):
        await cluster.get(CARTS)
    peer.answer(422, json=refusal(422, f"can't read {'PASSWORD=hunter2 ' * 100}"))
    with pytest.raises(Unprocessable, match=r"in shop: Why$"):
        await cluster.get(CARTS)


async def test_the_page_of_a_proxy_is_no_crash(cluster: ClusterApi, peer: HttpPeer) -> None:
    peer.answer(502, body=b"<html>bad gateway</html>")
    with pytest.raises(TemporaryError, match="answered 502: <html>bad gateway"):
        await cluster.get(CARTS)


async def test_a_page_in_place_of_an_object_is_not_taken_for_one(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    """Such as the login page of a proxy: an empty object would have 0 replicas."""
    peer.answer(200, body=b"<html>please log in</html>")
    with pytest.raises(TemporaryError, match=f"at {peer.url} answered 200, no JSON: <html>please"):
        await cluster.get(CARTS, "scale")


@pytest.mark.parametrize("status", [400, 409, 422, 429, 500, 503])
async def test_a_denial_is_final_whatever_status_it_has(
    cluster: ClusterApi, peer: HttpPeer, status: int
) -> None:
    """A webhook chooses the code of its denial."""
    denial = 'admission webhook "no.example.com" denied the request: freeze'
    peer.answer(status, json={"kind": "Status", "code": status, "message": denial})
    with pytest.raises(PermanentError, match="denied the request: freeze") as caught:
        await cluster.patch(CARTS, JSON_PATCH, [])
    assert not isinstance(caught.value, Unprocessable)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_error_of_a_proxy_names_it_and_the_cluster(
    peer: HttpPeer, tmp_path: Path, scheme: str
) -> None:
    proxy = {"proxy-url": peer.url.replace("http://", "http://bob:hunter2@")}
    path = kubeconfig(tmp_path, f"{scheme}://cluster.example:6443", **proxy)
    cluster = ClusterApi(KubernetesSettings(kubeconfig=path))
    peer.answer(407, body=b"who are you?")
    way = f"the API server at {scheme}://cluster.example:6443 through the proxy {peer.url}"
    with pytest.raises((TemporaryError, PermanentError), match=way) as caught:
        await cluster.get(CARTS)
    await cluster.close()
    assert "407" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_proxy_of_the_environment_is_named_too(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=f"at {peer.url} through the proxy http://127.0.0.1:9: "):
        await cluster.get(CARTS)


async def test_a_custom_resource_without_replicas_is_no_reason_to_wait(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    peer.answer(500, json=refusal(500, 'the spec replicas field ".spec.replicas" does not exist'))
    with pytest.raises(PermanentError):
        await cluster.get(CARTS, "scale")


async def test_long_lists_are_read_page_by_page(cluster: ClusterApi, peer: HttpPeer) -> None:
    peer.answer(json={"metadata": {"continue": "there"}, "items": [{"a": 1}, {"b": 2}]})
    peer.answer(json={"metadata": {"continue": ""}, "items": [{"c": 3}]})
    assert await cluster.list(POD, "shop", labels="app in (a,b)") == [{"a": 1}, {"b": 2}, {"c": 3}]
    first, second = peer.requests
    assert first.query["labelSelector"] == "app in (a,b)"
    assert (first.query["limit"], second.query["continue"]) == ("500", "there")


async def test_a_token_that_was_replaced_is_read_again(
    cluster: ClusterApi, peer: HttpPeer, tmp_path: Path
) -> None:
    peer.answer(json={})
    await cluster.get(CARTS)
    kubeconfig(tmp_path, peer.url, token="the-next-one")
    peer.answer(401, json=refusal(401, "Unauthorized"))
    with pytest.raises(TemporaryError):
        await cluster.get(CARTS)
    peer.answer(json={})
    await cluster.get(CARTS)
    assert [request.headers["Authorization"] for request in peer.requests] == [
        "Bearer secret-of-ours",
        "Bearer secret-of-ours",
        "Bearer the-next-one",
    ]


async def test_a_token_that_stays_refused_is_given_up_after_a_while(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.answer(401, json=refusal(401, "Unauthorized"), times=None)
    for _ in range(9):  # however many calls that is: executions share the connection
        with pytest.raises(TemporaryError):
            await cluster.get(CARTS)
    monkeypatch.setattr(api, "_UNAUTHORIZED_SECONDS", 0)
    with pytest.raises(PermanentError, match="does not accept our token"):
        await cluster.get(CARTS)


async def test_a_token_that_was_refused_long_ago_gets_its_time_again(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.answer(401, json=refusal(401, "Unauthorized"), times=None)
    monkeypatch.setattr(api, "_FORGOTTEN_SECONDS", -1)
    monkeypatch.setattr(api, "_UNAUTHORIZED_SECONDS", 1e-9)
    for _ in range(3):
        with pytest.raises(TemporaryError):
            await cluster.get(CARTS)


async def test_a_connection_that_is_replaced_is_not_closed_under_those_who_use_it(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    peer.answer(401, json=refusal(401, "Unauthorized"))
    peer.answer(json={"metadata": {"name": "carts"}}, times=None)
    with peer.hold():
        calls = [asyncio.create_task(cluster.get(CARTS)) for _ in range(5)]
        await peer.requested(5)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, TemporaryError) for answer in answers) == 1
    assert answers.count({"metadata": {"name": "carts"}}) == 4


async def test_a_lost_connection_is_the_runners_business(
    cluster: ClusterApi, peer: HttpPeer
) -> None:
    peer.drop_next(times=2)  # aiohttp repeats a request once by itself
    with pytest.raises(aiohttp.ClientConnectionError):
        await cluster.get(CARTS)


async def test_an_api_server_that_has_just_come_back_is_not_believed_that_nothing_is_there(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has read its rights and its custom resources, it answers 403 and 404."""
    peer.drop_next(times=2)
    peer.answer(404, json=refusal(404, "not found"), times=None)
    with pytest.raises(aiohttp.ClientConnectionError):
        await cluster.get(CARTS)
    with pytest.raises(TemporaryError, match="unreachable a moment ago"):
        await cluster.get(CARTS)
    monkeypatch.setattr(api, "_STARTING_SECONDS", 0)
    with pytest.raises(NotFound):
        await cluster.get(CARTS)


async def test_a_call_that_is_never_answered_ends(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUEST_SECONDS", 0.05)
    with peer.hold(), pytest.raises(TimeoutError):
        await cluster.get(CARTS)


async def test_a_write_waits_longer_than_the_api_server_waits_for_webhooks(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.WRITE_SECONDS > 34
    assert ClusterAction.timeout > 2 * api.WRITE_SECONDS + api.REQUEST_SECONDS
    monkeypatch.setattr(api, "WRITE_SECONDS", 0.05)
    said = rf"^PATCH .*/carts: the API server at {peer.url} gave no answer within 0\.05 s$"
    with peer.hold(), pytest.raises(TimeoutError, match=said):
        await cluster.patch(CARTS, JSON_PATCH, [])


async def test_a_dry_run_is_the_clients_own_parameter(cluster: ClusterApi, peer: HttpPeer) -> None:
    """In any other spelling, it would be ignored, and the change be made."""
    peer.answer(json={}, times=None)
    await cluster.patch(CARTS, JSON_PATCH, [], "scale", dry_run=True)
    await cluster.patch(CARTS, JSON_PATCH, [], "scale")
    assert [request.query.get("dryRun") for request in peer.requests] == ["All", None]


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Forbidden), (404, NotFound), (429, TemporaryError)]
)
async def test_a_discovery_that_fails_is_not_taken_for_an_absence(
    cluster: ClusterApi, peer: HttpPeer, status: int, kind: type[Exception]
) -> None:
    peer.answer(status, json=refusal(status, "no"))
    with pytest.raises(kind):
        await cluster.resources("example.com/v1")


@pytest.mark.parametrize("content", ["", "{}", "no: [yaml", "[]"])
async def test_a_kubeconfig_that_is_none_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    cluster = ClusterApi(KubernetesSettings(kubeconfig=str(path)))
    with pytest.raises(PermanentError, match="can't connect to the cluster: ") as caught:
        await cluster.get(CARTS)
    assert "\n" not in str(caught.value)


async def test_a_cluster_with_a_plain_certificate_authority_is_trusted(
    cluster: ClusterApi, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Python 3.13 on, the default context is stricter than kubectl."""
    made: list[ssl.SSLContext] = []

    def strict(*_: Any, **__: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        made.append(context)
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    peer.answer(json={})
    await cluster.get(CARTS)
    [context] = made
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED


async def test_a_pod_without_its_token_is_told(tmp_path: Path) -> None:
    settings = KubernetesSettings(service_host="127.0.0.1", service_port="443")
    with pytest.raises(PermanentError, match="token file does not exist"):
        await ClusterApi(settings, account=tmp_path).get(CARTS)


def test_the_client_library_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys; from keptn_remedy_actions import scale, rollback, restart;"
        " scale.Scale(scale.Scale.Settings(service_host='::1', service_port='1'));"
        " sys.exit('kubernetes' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
