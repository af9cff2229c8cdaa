"""How often something may be tried, by all or by each address."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MOST, WITHIN_SECONDS = 5, 10.0
REMEMBERED = 1000
_PREFIX_BITS = 64  # one customer has so many bits of an IPv6 address for the asking


class RateLimit:
    """At most `MOST` in `WITHIN_SECONDS`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._times: deque[float] = deque(maxlen=MOST)

    def note(self) -> None:
        """One more was tried."""
        self._times.append(self._monotonic())

    def pause_seconds(self) -> float:
        """Seconds until the next one is allowed."""
        if len(self._times) < MOST:
            return 0.0
        return max(0.0, self._times[0] + WITHIN_SECONDS - self._monotonic())


class Guesses:
    """A rate limit for each address, so that whoever guesses locks out nobody else. The addresses
    that tried last are remembered.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()

    def of(self, address: str) -> RateLimit:
        """The limit of an address."""
        source = _source(address)
        limit = self._limits.pop(source, None) or RateLimit(self._monotonic)
        self._limits[source] = limit
        if len(self._limits) > REMEMBERED:
            self._limits.popitem(last=False)
        return limit


def _source(address: str) -> str:
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped:
            return str(known.ipv4_mapped)
        return f"{int(known) >> _PREFIX_BITS:x}"
    return str(known)
