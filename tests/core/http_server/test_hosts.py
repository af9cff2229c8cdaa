"""Which names a loopback port answers to."""

import pytest

from keptn_remedy.http_server.hosts import KnownHosts, is_loopback

OURS = ("localhost", "localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1:8080", "[::1]:8080")
OTHERS = (
    "rebound.example",
    "rebound.example:8080",
    "localhost.rebound.example",
    "127.0.0.1.rebound.example",
    "localhost@rebound.example",
    "127.1",
    "[::1",
    "a b",
    "localhost:port",
)


@pytest.mark.parametrize("host", [*OURS, "10.1.2.3:8080", "", None])
def test_localhost_and_addresses_are_known(host: str | None) -> None:
    assert KnownHosts().objection(host, None) is None


@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_refused(host: str) -> None:
    assert "REMEDY_HOST_NAMES" in str(KnownHosts().objection(host, None))


def test_further_names_are_known_in_any_case() -> None:
    hosts = KnownHosts(["Remedy.Example"])
    assert hosts.objection("remedy.example:8090", None) is None
    assert hosts.objection("x.remedy.example:8090", None)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8090", "http://localhost:8090"),
        ("LOCALHOST:8090", "http://localhost:8090"),
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost:8090", "https://remedy.example"),
        ("remedy.example", "https://remedy.example"),
    ],
)
def test_a_page_of_the_port_itself_or_of_a_further_name_may_ask(host: str, origin: str) -> None:
    hosts = KnownHosts(["remedy.example"])
    assert hosts.objection(host, origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8090",
        "http://203.0.113.1",
        "null",
        "",
        "file://",
        "file://localhost:8090",
        "http://[",
    ],
)
def test_a_page_of_another_site_may_not(origin: str) -> None:
    assert KnownHosts().objection("localhost:8090", origin)


def test_a_page_is_refused_where_no_host_is_named() -> None:
    assert KnownHosts().objection(None, "http://localhost:8090")


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("10.1.2.3", False),
        ("fe80::1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(address: str, *, is_ours: bool) -> None:
    assert is_loopback(address) == is_ours
