"""The connection to the API server: made when needed, and again when credentials change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientConnectorCertificateError

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster.settings import KubernetesSettings

USER_AGENT = "keptn-remedy"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Client = Any
"""An `ApiClient` of `kubernetes.aio`, which is imported only when it is used."""


@dataclass(slots=True)
class _Lent:
    client: Client
    users: int = 0
    retired: bool = False


class Connection:
    """The connection to one cluster. In a pod, the client reads the token again each minute."""

    def __init__(self, settings: KubernetesSettings, account: Path = SERVICE_ACCOUNT) -> None:
        self._settings = settings
        self._account = account
        self._present: _Lent | None = None
        self._connecting = asyncio.Lock()

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """The client; it stays open while it is used.

        Raises:
            PermanentError: the configuration of the cluster can't be used.
        """
        async with self._connecting:
            if self._present is None:
                self._present = _Lent(await _connect(self._settings, self._account))
        lent = self._present
        lent.users += 1
        try:
            yield lent.client
        except ClientConnectorCertificateError:
            lent.retired = True  # the cluster's certificates were replaced: read the CA again
            raise
        finally:
            lent.users -= 1
            if lent.retired:
                await self._retire(lent)

    async def renew(self, client: Client) -> None:
        """Read the credentials again after this client got a 401; its open calls may end."""
        if self._present and self._present.client is client:
            await self._retire(self._present)

    async def close(self) -> None:
        if self._present:
            await self._retire(self._present)

    async def _retire(self, lent: _Lent) -> None:
        lent.retired = True
        if self._present is lent:
            self._present = None
        if not lent.users:
            await lent.client.close()


async def _connect(settings: KubernetesSettings, account: Path) -> Client:
    # The imports take a third of a second, which must not block the event loop.
    await asyncio.to_thread(_import)
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration

    configuration: Any = Configuration()
    try:
        if settings.kubeconfig:
            await _load_kubeconfig(settings.kubeconfig, configuration)
        else:
            _load_in_cluster(settings, account, configuration)
        # As lenient as kubectl: Python 3.13 demands extensions that the CAs of many clusters lack.
        configuration.disable_strict_ssl_verification = True
        client = ApiClient(configuration)
    except Exception as error:  # noqa: BLE001  a kubeconfig may be wrong in any way
        why = " ".join(str(error).split())
        raise PermanentError(f"can't connect to the cluster: {why}") from None
    client.user_agent = USER_AGENT
    return client


def _import() -> None:
    import_module("kubernetes.aio.client.api_client")
    import_module("kubernetes.aio.config")


async def _load_kubeconfig(path: str, configuration: Any) -> None:
    kube_config: Any = import_module("kubernetes.aio.config.kube_config")
    await kube_config.load_kube_config(
        path, client_configuration=configuration, persist_config=False
    )


def _load_in_cluster(settings: KubernetesSettings, account: Path, configuration: Any) -> None:
    """Like `load_incluster_config`, with our variables; tokens are read again each minute."""
    from kubernetes.aio.config.incluster_config import InClusterConfigLoader

    loader: Any = InClusterConfigLoader
    loader(
        token_filename=str(account / "token"),
        cert_filename=str(account / "ca.crt"),
        environ={
            "KUBERNETES_SERVICE_HOST": settings.service_host,
            "KUBERNETES_SERVICE_PORT": settings.service_port,
        },
    ).load_and_set(configuration)
    # HTTP_PROXY is for traffic out of the cluster; the client would use it for the API server.
    configuration.client_session_kwargs = {"trust_env": False}


def way_to(client: Client) -> str:
    """The API server's address, and the proxy on the way, in words; without credentials."""
    server = str(client.configuration.host)
    proxy = _proxy(client.configuration, server)
    through = f" through the proxy {_bare(proxy)}" if proxy else ""
    return f"the API server at {_bare(server)}{through}"


def _proxy(configuration: Any, server: str) -> str | None:
    """The proxy that aiohttp uses: the kubeconfig's, or the environment's."""
    named: str | None = configuration.proxy
    session: Any = configuration.client_session_kwargs or {}
    if named or not session.get("trust_env", True):
        return named
    address = urlsplit(server)
    proxy = getproxies().get(address.scheme)
    return None if proxy and proxy_bypass(address.hostname or "") else proxy


def _bare(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
