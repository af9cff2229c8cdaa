"""Which secret may be sent to which host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from yarl import URL

from keptn_remedy import Denied
from keptn_remedy_actions.http_calls.addresses import Hosts


@dataclass(frozen=True, slots=True)
class SecretHosts:
    """Names of secrets, or globs such as `hooks/*`, each with a host. A secret that is in none of
    the pairs may go to every host that requests may go to.
    """

    pairs: tuple[tuple[str, Hosts], ...]

    @classmethod
    def read(cls, text: str) -> SecretHosts:
        """From pairs such as `cdn-token=cdn.example.com`, separated by commas or white space.

        Raises:
            ValueError: one of them is no pair of a name and a host.
        """
        pairs = list[tuple[str, Hosts]]()
        for pair in text.replace(",", " ").split():
            name, _, host = pair.partition("=")
            if not name or not host:
                raise ValueError(f"{pair!r} is no pair: write cdn-token=cdn.example.com")
            pairs.append((name, Hosts.read(host)))
        return cls(tuple(pairs))

    def check(self, secrets: Iterable[str], url: URL) -> None:
        """Refuse to send secrets to the host of an address.

        Raises:
            Denied: one of them is named for other hosts.
        """
        for secret in sorted(secrets):
            hosts = [each for name, each in self.pairs if fnmatchcase(secret, name)]
            if hosts and not any(each.have(url.host or "", url.port) for each in hosts):
                named = ", ".join(pattern for each in hosts for pattern in each.patterns)
                raise Denied(
                    f"the secret {secret} may go to {named} only (WEBHOOK_SECRET_HOSTS), and this"
                    " request goes elsewhere"
                )
