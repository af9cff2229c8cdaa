"""The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.request import getproxies_environment

from yarl import URL


def proxy_for(url: URL) -> URL | None:
    """The proxy to use; None for a direct connection.

    As curl and Go read the variables: NO_PROXY lists hosts, domains with all below them, addresses
    and networks such as 10.0.0.0/8, each perhaps with a port, or `*`. A name is not looked up, so
    a network matches addresses only.

    Raises:
        ValueError: the variable holds no address.
    """
    proxies = getproxies_environment()
    proxy = proxies.get(url.scheme)
    if not proxy or _is_excepted(url, proxies.get("no", "")):
        return None
    try:
        return URL(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:  # its message may hold the password
        raise ValueError(f"{url.scheme.upper()}_PROXY is no address") from None


def _is_excepted(url: URL, exceptions: str) -> bool:
    host = (url.host or "").rstrip(".").lower()
    return any(
        _means(exception.strip().lower(), host, url.port) for exception in exceptions.split(",")
    )


def _means(exception: str, host: str, port: int | None) -> bool:
    if exception == "*":
        return True
    try:
        return ip_address(host) in ip_network(exception.strip("[]"), strict=False)
    except ValueError:  # one of them is a name, or has a port
        pass
    name, _, its_port = exception.rpartition(":")
    if name and its_port.isdigit() and (":" not in name or name.endswith("]")):
        return int(its_port) == port and _means(name, host, port)
    domain = exception.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
