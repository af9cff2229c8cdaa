"""The names that a loopback port answers to: a page on another site must not reach it.

A page can let its own name resolve to 127.0.0.1 (DNS rebinding), and then reads and posts as if the
port were its own site. The browser still sends that name, as `Host`, and the page's as `Origin`.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

LOCALHOST = "localhost"
_PORTS = {"http": 80, "https": 443}


class KnownHosts:
    """`localhost`, every IP address and further `names`."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {LOCALHOST, *(name.lower().rstrip(".") for name in names)}

    def objection(self, host: str | None, origin: str | None) -> str | None:
        """Why a request with this `Host` and `Origin` is refused; None if it isn't."""
        if host and not self._is_known(host):
            return f"Host {host} is not a name of this port; see REMEDY_HOST_NAMES"
        if origin is not None and not self._is_ours(origin, host or ""):
            return f"Origin {origin} is another site; see REMEDY_HOST_NAMES"
        return None

    def _is_known(self, host: str) -> bool:
        name = _name(_split(f"//{host}"))
        # No name was resolved for an address, so there is none to rebind.
        return name in self._names or _is_address(name)

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether the page came from this very port, or from one of the further names."""
        page = _split(origin)
        if _name(page) in self._names - {LOCALHOST}:
            return True
        port = _split(f"{page.scheme}://{host}") if page.scheme in _PORTS else None
        return port is not None and bool(_name(page)) and _authority(page) == _authority(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine, or this pod, reaches a socket that is bound to the address."""
    return ip_address(address.partition("%")[0]).is_loopback


def _split(url: str) -> SplitResult:
    """The parts of a URL; empty where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return urlsplit("")
    return parts


def _name(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def _authority(parts: SplitResult) -> tuple[str, int | None]:
    return _name(parts), parts.port or _PORTS.get(parts.scheme)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
