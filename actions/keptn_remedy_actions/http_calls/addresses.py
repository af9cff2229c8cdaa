"""The hosts that a request may name, and the addresses that it must not reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from keptn_remedy import Denied

if TYPE_CHECKING:
    from yarl import URL

Address = IPv4Address | IPv6Address

# Where clouds answer virtual machines, outside of the link-local networks.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google
        ),
    )
)
# The end of an IPv4 address in any spelling, such as 127.1; no name of a host ends so.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_THIS_NETWORK = ip_network("0.0.0.0/8")
_TEREDO = ip_network("2001::/32")
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ip_network("::/96")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts by name: `hooks.example.com`, `*.example.com` for all below it, each with a port or
    without.
    """

    patterns: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Hosts:
        """From names that are separated by commas or white space.

        Raises:
            ValueError: one of them is no host.
        """
        patterns = tuple(text.lower().replace(",", " ").split())
        for pattern in patterns:
            name, _ = _split(pattern)
            if not name.removeprefix("*.").strip("[].") or set(name.removeprefix("*.")) & set(
                "*/@?#"
            ):
                raise ValueError(
                    f"{pattern!r} is not a host: write hooks.example.com, hooks.example.com:8443 or"
                    " *.example.com"
                )
        return cls(patterns)

    def have(self, host: str, port: int | None) -> bool:
        """Whether one of them is this host, and has this port or none."""
        host = _bare(host)
        return any(
            _is_named(host, name) and wanted in (None, port)
            for name, wanted in map(_split, self.patterns)
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """What requests may reach: the `allowed` hosts, of which `loopback` may be on this machine."""

    allowed: Hosts
    loopback: Hosts

    def check_url(self, url: URL) -> None:
        """Refuse an address that isn't allowed, before anything is looked up.

        Raises:
            Denied: the host, the scheme or the address is refused.
        """
        if url.scheme not in ("http", "https") or not url.host:
            raise Denied(f"{str(url)[:100]!r} is not an http or https address")
        if url.user is not None or url.password is not None:
            raise Denied(f"the address of {url.host} must not hold a user or password")
        if why := _refusal(self, url.host, url.port):
            raise Denied(why)

    def check_address(self, host: str, address: str, port: int | None) -> None:
        """Refuse the address to which a host's name leads.

        Raises:
            Denied: requests must not go there.
        """
        if why := self.why_refused(host, address, port):
            raise Denied(why)

    def why_refused(self, host: str, address: str, port: int | None) -> str:
        """Why no request may go to the address of this host; empty where it may."""
        why = why_refused(address, may_be_loopback=self.loopback.have(host, port))
        return f"{host} leads to {address}, {why}: no request is sent there" if why else ""


@lru_cache(maxsize=256)
def _refusal(reach: Reach, host: str, port: int | None) -> str:
    """Why a host is refused before it is looked up; empty where it isn't."""
    if not reach.allowed.have(host, port):
        return f"WEBHOOK_HOSTS does not allow {host}:{port}"
    try:
        ip_address(host)
    except ValueError:
        if _NUMBER.fullmatch(_bare(host).rpartition(".")[2]):
            return f"{host} is neither a name nor a plain address"
        return ""  # a name: its addresses are checked when it is looked up
    return reach.why_refused(host, host, port)


def why_refused(address: str, *, may_be_loopback: bool = False) -> str:
    """Why no request may go to the address; empty where it may."""
    for meant in _meanings(ip_address(address.partition("%")[0])):
        if meant in _METADATA:
            return "where a cloud keeps metadata"
        if meant.is_loopback:
            if not may_be_loopback:
                return "which is this machine"
        elif meant.is_unspecified or (meant.version == 4 and meant in _THIS_NETWORK):
            return "which is this machine"
        elif meant.is_link_local:
            return "which is link-local"
        elif meant.is_multicast or meant.is_reserved or meant in _TEREDO:
            return "which is no address of one host"
    return ""


def _meanings(address: Address) -> Iterator[Address]:
    """The IPv4 address that an IPv6 one stands for, or else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or address.sixtofour:
            yield address.ipv4_mapped or address.sixtofour or address
            return
        is_compatible = address in _COMPATIBLE and int(address) > 0xFFFF
        if is_compatible or any(address in network for network in _TRANSLATED):
            yield IPv4Address(int(address) & 0xFFFFFFFF)
            return
    yield address


def _split(pattern: str) -> tuple[str, int | None]:
    """A host and its port."""
    name, colon, port = pattern.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return _bare(name), int(port)
    return _bare(pattern), None


def _bare(host: str) -> str:
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_named(host: str, name: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*.") else host == name
