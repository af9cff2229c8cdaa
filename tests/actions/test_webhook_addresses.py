"""webhook sends nothing to this machine, to its link, or to where clouds keep metadata."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from keptn_remedy import Denied
from keptn_remedy.testing import http_peer
from keptn_remedy_actions.http_calls.addresses import Hosts, Reach, why_refused
from keptn_remedy_actions.http_calls.client import Client, Request

METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
V4 = (
    "127.0.0.1", "127.1.2.3", "127.255.255.254", "0.1.2.3", "169.254.0.1",
    "169.254.170.2", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
V6 = (
    "::1", "::", "fe80::1", "fe80::1%eth0", "ff02::1", "fd20:ce::254", "2001:0:53aa:64c::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1",
    "::169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
)  # fmt: skip
# As people, and `getaddrinfo`, write IPv4 addresses.
SPELLINGS = (
    "0x7f000001", "2130706433", "0177.0.0.1", "127.1", "0x7f.1", "0", "0251.0376.0251.0376",
    "2852039166", "0xa9fea9fe", "localhost",
)  # fmt: skip
HARMLESS = ("10.1.2.3", "192.168.0.7", "172.16.0.1", "1.1.1.1", "2606:4700::1111", "fd00::5",
            "64:ff9b::101:101", "::ffff:10.0.0.1")  # fmt: skip


class Names(AbstractResolver):
    """A resolver that gives each name's answers in turn, the last one again and again."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.answers[host.partition(".")[0]]
        given = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=port,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for each in given.split()
        ]

    async def close(self) -> None:
        """Nothing is held."""


def reach(*, loopback: str = "") -> Reach:
    return Reach(Hosts.read("*.example.com *.test 127.0.0.1 localhost"), Hosts.read(loopback))


def get(url: str) -> Request:
    return Request("GET", URL(url), (), None, 2.0)


@pytest.mark.parametrize("address", [*METADATA, *V4, *V6])
def test_an_address_that_is_not_of_another_host_is_refused(address: str) -> None:
    assert why_refused(address)


@pytest.mark.parametrize("address", HARMLESS)
def test_other_addresses_are_reached_where_their_host_is_allowed(address: str) -> None:
    assert why_refused(address) == ""


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_an_address_gets_past(spelling: str) -> None:
    client = Client(Reach(Hosts.read(spelling), Hosts.read("")))
    try:
        with pytest.raises(Denied, match=r"leads to 127|neither a name nor"):
            await client.send(get(f"http://{spelling}/"))
    finally:
        await client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:7f00:1]"])
def test_an_allowed_address_is_refused_all_the_same(host: str) -> None:
    with pytest.raises(Denied, match="no request is sent there"):
        Reach(Hosts.read(host), Hosts.read("")).check_url(URL(f"http://{host}:80/"))


async def test_a_name_is_refused_when_one_of_its_addresses_is() -> None:
    client = Client(reach(), Names(two=["1.1.1.1 127.0.0.1"]))
    with pytest.raises(Denied, match=r"two\.test leads to 127\.0\.0\.1, which is this machine"):
        await client.send(get("http://two.test/"))
    await client.close()


async def test_a_name_that_changes_after_the_look_up_changes_nothing() -> None:
    async with http_peer() as peer:
        port = URL(peer.url).port
        names = Names(turning=["127.0.0.1", "169.254.169.254"])
        client = Client(reach(loopback="turning.test"), names)
        for _ in range(2):  # one look-up, one connection, which is kept
            assert (await client.send(get(f"http://turning.test:{port}/"))).status == 200
        assert names.asked == ["turning.test"]
        await client.close()
        again = Client(reach(loopback="turning.test"), names)
        with pytest.raises(Denied, match=r"where a cloud|link-local"):
            await again.send(get(f"http://turning.test:{port}/"))
        await again.close()
        assert len(peer.requests) == 2


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest", "http://other.example.com/", "/elsewhere"]
)
async def test_a_redirect_is_not_followed(location: str) -> None:
    async with http_peer() as peer:
        peer.answer(302, headers={"Location": location})
        client = Client(Reach(Hosts.read("127.0.0.1"), Hosts.read("127.0.0.1")))
        answer = await client.send(get(peer.url))
        await client.close()
    assert (answer.status, len(peer.requests)) == (302, 1)


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://hooks.example.com/x", True),
        ("https://HOOKS.example.com./x", True),
        ("https://a.b.example.com/", True),
        ("https://example.com/", False),
        ("https://evil-example.com/", False),
        ("https://hooks.example.com.evil.test/", False),
        ("https://api.shop.test:8443/", True),
        ("https://api.shop.test/", False),
        ("https://hooks.example.com@evil.test/", False),
        ("https://evil.test#hooks.example.com", False),
        ("file:///etc/passwd", False),
        ("gopher://hooks.example.com/", False),
        ("//hooks.example.com/", False),
        ("hooks.example.com", False),
    ],
)
def test_only_hosts_on_the_list_are_allowed(url: str, is_allowed: bool) -> None:
    hosts = Reach(Hosts.read("*.example.com, api.shop.test:8443"), Hosts.read(""))
    if is_allowed:
        hosts.check_url(URL(url))
    else:
        with pytest.raises(Denied):
            hosts.check_url(URL(url))


@pytest.mark.parametrize("text", ["*", "*.", "https://a.test", "a/b", "a@b", "**.test", "a*"])
def test_what_is_no_host_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        Hosts.read(text)


async def test_a_host_on_this_machine_may_be_allowed_with_one_port() -> None:
    names = Names(localhost=["127.0.0.1"])
    async with http_peer() as peer:
        port = URL(peer.url).port or 0
        allowed = reach(loopback=f"localhost:{port} 127.0.0.1:{port}")
        client = Client(allowed, names)
        assert (await client.send(get(f"http://localhost:{port}/"))).status == 200
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(Denied, match="which is this machine"):
                await client.send(get(f"http://{host}:{port + 1}/"))
        await client.close()


async def test_an_answer_is_read_to_a_limit() -> None:
    async with http_peer() as peer:
        peer.answer(body=b"x" * 1_000_000)
        client = Client(Reach(Hosts.read("127.0.0.1"), Hosts.read("127.0.0.1")))
        assert len((await client.send(get(peer.url))).body) == 256 * 1024
        await client.close()
