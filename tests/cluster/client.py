"""A client of the cluster that tests use, in plain JSON."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import new_client_from_config

Json = dict[str, Any]

CALL_SECONDS = 10
LOOK_SECONDS = 0.03
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class ApiError(Exception):
    """An answer of the API server that is an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status}: {body.get('message')}")
        self.status = status
        self.body = body


class Cluster:
    """An API server and our credentials; paths are those of its REST API.

    A lost connection raises aiohttp's errors, a late answer TimeoutError.
    """

    def __init__(self, api: ApiClient, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._api = api

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Path) -> AsyncIterator[Cluster]:
        """As the user of the file's current context."""
        api: ApiClient = await new_client_from_config(  # type: ignore[no-untyped-call]  # not typed
            str(kubeconfig), persist_config=False
        )
        async with api:
            yield cls(api, kubeconfig)

    async def get(self, path: str, **query: str) -> Json:
        return await self.call("GET", path, query=query)

    async def find(self, path: str) -> Json | None:
        """The object; None if there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def items(self, path: str, **query: str) -> list[Json]:
        """The objects of a list, such as `items(path, labelSelector="app=carts")`."""
        found: list[Json] = (await self.get(path, **query))["items"]
        return found

    async def create(self, path: str, body: Json) -> Json:
        return await self.call("POST", path, body)

    async def patch(self, path: str, body: Json | list[Json]) -> Json:
        """A merge patch if it is an object, a JSON patch if it is a list."""
        return await self.call("PATCH", path, body)

    async def apply(self, path: str, body: Json) -> Json:
        """Server-side apply, which refuses fields that its schema lacks."""
        query = {"fieldManager": "keptn-remedy-tests"}
        return await self.call("PATCH", path, body, query=query, content_type=APPLY_PATCH)

    async def replace(self, path: str, body: Json) -> Json:
        return await self.call("PUT", path, body)

    async def delete(self, path: str, **query: str) -> Json:
        return await self.call("DELETE", path, query=query)

    async def call(
        self,
        method: str,
        path: str,
        body: Json | list[Json] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Json:
        headers = {"Accept": "application/json"}
        if method == "PATCH":
            usual = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
            headers["Content-Type"] = content_type or usual
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self.server}{path}{'?' if query else ''}{urlencode(query or {})}"
        answer = await self._api.call_api(method, url, headers, body, _request_timeout=CALL_SECONDS)
        said = _parsed(await answer.response.read())
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, said)
        return said

    async def until(
        self, path: str, condition: Callable[[Json], bool], *, within_seconds: float = 30
    ) -> Json:
        """The object at the path once the condition holds of it; `{}` stands for no object."""
        seen: Json = {}
        try:
            async with asyncio.timeout(within_seconds):
                while not condition(seen := await self._look(path)):  # noqa: ASYNC110  no event
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            error.add_note(f"{path} within {within_seconds} s; last seen: {json.dumps(seen)}")
            raise
        return seen

    async def _look(self, path: str) -> Json:
        try:
            return await self.find(path) or {}
        except ApiError as error:
            if error.status in {429, 503}:  # a new kind's storage is being prepared
                return {}
            raise

    @property
    def server(self) -> str:
        return str(self._api.configuration.host).rstrip("/")

    def write_kubeconfig(
        self, path: Path, *, token: str | None = None, server: str | None = None
    ) -> Path:
        """For our own credentials or a token; `server` is another address of the same cluster."""
        user = {"token": token} if token else self._ourselves()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tested", "cluster": self._address(server)}],
            "users": [{"name": "tester", "user": user}],
            "contexts": [{"name": "tested", "context": {"cluster": "tested", "user": "tester"}}],
            "current-context": "tested",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def _address(self, server: str | None) -> Json:
        known = self._api.configuration
        address: Json = {"server": server or self.server}
        if known.ssl_ca_cert:
            address["certificate-authority-data"] = _base64(known.ssl_ca_cert)
        if not known.verify_ssl:
            address["insecure-skip-tls-verify"] = True
        if known.tls_server_name or server:
            address["tls-server-name"] = known.tls_server_name or urlsplit(self.server).hostname
        return address

    def _ourselves(self) -> Json:
        known = self._api.configuration
        user: Json = {}
        if bearer := known.api_key.get("BearerToken"):
            user["token"] = bearer.removeprefix("Bearer ")
        if known.cert_file and known.key_file:
            user["client-certificate-data"] = _base64(known.cert_file)
            user["client-key-data"] = _base64(known.key_file)
        return user


def _parsed(answer: bytes) -> Json:
    try:
        said = json.loads(answer)
    except ValueError:
        said = answer.decode(errors="replace")
    return said if isinstance(said, dict) else {"message": said}


def _base64(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()
