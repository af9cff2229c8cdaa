"""toggle-feature behind a proxy: which addresses go through it, and that both of its APIs do."""

import pytest
from yarl import URL

from keptn_remedy import TemporaryError, proxy_for
from keptn_remedy.testing.http_peer import http_peer
from tests.actions.test_toggle_feature_http import CLIENT_TOKEN, driving, state, told

UNLEASH = "http://unleash.shop.test:4242"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("exceptions", "address"),
    [
        ("*", "http://anything"),
        ("unleash", "http://unleash:4242"),
        ("shop.test", UNLEASH),
        (".shop.test", UNLEASH),
        ("*.shop.test", UNLEASH),
        ("SHOP.Test.", "http://Unleash.shop.test."),
        ("a, unleash.shop.test:4242 ,b", UNLEASH),
        ("10.0.0.0/8", "http://10.1.2.3"),
        ("10.1.2.0/23", "https://10.1.3.255:8443"),
        ("10.1.2.3/16", "http://10.1.9.9"),
        ("10.1.2.3", "http://10.1.2.3"),
        ("10.1.2.3:80", "http://10.1.2.3"),
        ("fd00::/8", "http://[fd12::1]:4242"),
        ("[fd12::1]", "http://[fd12::1]"),
        ("[fd12::1]:4242", "http://[fd12::1]:4242"),
        ("fd12::1", "http://[fd12:0::1]"),
    ],
)
def test_an_excepted_address_is_reached_directly(
    exceptions: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(URL(address)) is None


@pytest.mark.parametrize(
    ("exceptions", "address"),
    [
        ("", "http://unleash"),
        (",", "http://unleash"),
        ("leash", "http://unleash"),
        ("hop.test", UNLEASH),
        ("unleash.shop.test:80", UNLEASH),
        ("10.0.0.0/8", "http://11.1.2.3"),
        ("10.0.0.0/8", "http://ten.test"),
        ("10.0.0.0/99", "http://10.1.2.3"),
        ("10.1.2.3:80", "https://10.1.2.3"),
        ("fd00::/8", "http://10.1.2.3"),
    ],
)
def test_any_other_goes_through_the_proxy(
    exceptions: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", exceptions)
    assert proxy_for(URL(address)) == URL("http://proxy:3128")


def test_without_a_proxy_for_the_scheme_the_way_is_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_for(URL(UNLEASH)) is None


async def test_unleash_is_switched_and_looked_at_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with http_peer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:secret@"))
        proxy.answer(json=state(enabled=True, strategies=[]), times=2)
        proxy.answer()
        proxy.answer(json=state(enabled=False))
        proxy.answer(json=told(enabled=False))
        async with driving(UNLEASH, unleash_client_token=CLIENT_TOKEN) as drive:
            outcome = await drive.run({"Promo": "off"})
    assert outcome.result == "pass"
    assert {request.headers["Host"] for request in proxy.requests} == {"unleash.shop.test:4242"}
    assert {"Proxy-Authorization" in request.headers for request in proxy.requests} == {True}
    assert [request.path for request in proxy.requests][-1] == "/api/client/features"


async def test_a_proxy_that_is_down_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    async with driving(UNLEASH) as drive:
        with pytest.raises(TemporaryError) as caught:
            await drive.plan({"Promo": "off"})
    said = str(caught.value)
    assert said.startswith(f"Unleash at {UNLEASH} through the proxy 127.0.0.1:9 can't be reached")
    assert "secret" not in said
