"""The API server: JSON in and out, time-outs, and errors as actions raise them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientError

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.cluster import Kind, Object, Ref
from keptn_remedy_actions.cluster.connection import SERVICE_ACCOUNT, Connection
from keptn_remedy_actions.cluster.settings import KubernetesSettings

FIELD_MANAGER = "keptn-remedy"
REQUEST_SECONDS = 15
PAGE = 500
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

FAILURES = (PermanentError, TemporaryError, ClientError, TimeoutError)
"""Everything that a call may raise."""

_TEMPORARY = frozenset({408, 425, 429})
# Within seconds a replaced token is mounted, and an authenticator has restarted.
_UNAUTHORIZED_SECONDS = 15.0
_FORGOTTEN_SECONDS = 60.0
_LONGEST_REASON = 300
# An API server that has just started may lack some rights and custom resources for a while.
_STARTING_SECONDS = 10.0


class NotFound(PermanentError):
    """404: there is no such object or resource."""


class Forbidden(PermanentError):
    """403: RBAC or an admission webhook refuses."""


class Conflict(TemporaryError):
    """409: the object was changed meanwhile, or exists already."""


class Unprocessable(PermanentError):
    """422: a failed `test` of a JSON patch, or an invalid object."""


_NAMED: Mapping[int, Callable[[str], Exception]] = {
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Unprocessable,
}


class ClusterApi:
    """One cluster. It connects at the first call; objects are plain JSON.

    Calls raise TemporaryError, PermanentError or one of the above. Connection errors of aiohttp and
    TimeoutError are passed on: the runner treats them as temporary.
    """

    def __init__(self, settings: KubernetesSettings, account: Path = SERVICE_ACCOUNT) -> None:
        self._connection = Connection(settings, account)
        self._unauthorized: tuple[float, float] | None = None  # first and last of a series
        self._lost_at = float("-inf")

    async def get(self, ref: Ref, subresource: str = "") -> Object:
        return await self._call("get", "GET", ref, subresource)

    async def list(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind in a namespace that match the selectors."""
        query = {"limit": str(PAGE)}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        found: list[Object] = []
        while True:
            page = await self._call("list", "GET", Ref(kind, namespace, ""), query=query)
            found += page.get("items") or ()
            if not (more := page["metadata"].get("continue")):
                return found
            query["continue"] = more

    async def patch(self, ref: Ref, how: str, body: Any, subresource: str = "") -> Object:
        """Patch an object; `how` is one of the media types above."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("patch", "PATCH", ref, subresource, query, body, how)

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("create", "POST", Ref(kind, namespace, ""), query=query, body=body)

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object with this uid; another one of the same name stays."""
        await self._call("delete", "DELETE", ref, body={"preconditions": {"uid": uid}})

    async def resources(self, api_version: str) -> Sequence[Object]:
        """The resources of a group and version (API discovery)."""
        root = "apis" if "/" in api_version else "api"
        status, delay, answer = await self._request("GET", f"/{root}/{api_version}", {}, None, None)
        if status == 404:
            raise NotFound(f"the cluster has no {api_version}")
        if status >= 300:
            raise _error(status, delay, answer, f"discover {api_version}")
        found: Sequence[Object] = answer["resources"]
        return found

    async def close(self) -> None:
        await self._connection.close()

    async def _call(
        self,
        verb: str,
        method: str,
        ref: Ref,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str | None = None,
    ) -> Object:
        path = ref.path if ref.name else ref.kind.path(ref.namespace)
        path += f"/{subresource}" if subresource else ""
        status, delay, answer = await self._request(method, path, query or {}, body, content_type)
        if status < 300:
            return answer
        if status in (403, 404) and time.monotonic() < self._lost_at + _STARTING_SECONDS:
            raise TemporaryError(
                f"the API server was unreachable a moment ago, and answers {status}", 1
            )
        resource = ref.kind.resource + (f"/{subresource}" if subresource else "")
        where = f"{verb} {resource} {ref.name}".rstrip() + f" in {ref.namespace}"
        raise _error(status, delay, answer, where)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str | None,
    ) -> tuple[int, float | None, Object]:
        """Status, the `Retry-After` in seconds, and the answer."""
        try:
            async with self._connection.client() as client:
                _, url, headers, body, _ = await client.param_serialize(
                    method,
                    path,
                    query_params=list(query.items()),
                    header_params={"Content-Type": content_type or "application/json"},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await client.call_api(
                    method, url, headers, body, _request_timeout=REQUEST_SECONDS
                )
                status, text = response.status, await response.read()
                if status == 401:
                    await self._connection.renew(client)
        except (ClientError, TimeoutError):
            self._lost_at = time.monotonic()
            raise
        self._check_authorized(status)
        return status, _seconds(response.headers.get("Retry-After")), _parsed(text)

    def _check_authorized(self, status: int) -> None:
        """Raise for a 401: temporary at first, as tokens are replaced while we run."""
        if status != 401:
            self._unauthorized = None
            return
        now = time.monotonic()
        first, last = self._unauthorized or (now, now)
        first = now if now - last > _FORGOTTEN_SECONDS else first
        self._unauthorized = first, now
        said = "the API server does not accept our token (401)"
        if now - first >= _UNAUTHORIZED_SECONDS:
            raise PermanentError(said)
        raise TemporaryError(said, delay=1)


def _error(status: int, delay: float | None, answer: Object, where: str) -> Exception:
    said = _reason(answer)
    if named := _NAMED.get(status):
        return named(f"{'not allowed: ' if status == 403 else ''}{where}: {said}")
    # The answer for a custom resource without its replicas field, which no retry would add.
    is_missing = status == 500 and "replicas" in said and "does not exist" in said
    message = f"{where}: the API server answered {status}: {said}"
    if (status >= 500 and not is_missing) or status in _TEMPORARY:
        return TemporaryError(message, delay)
    return PermanentError(message)


def _reason(status: Object) -> str:
    """The reason in a Status object. A long one may quote a whole object, secrets included."""
    details: Object = status.get("details") or {}
    causes: Sequence[Object] = details.get("causes") or ()
    said = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in causes)
    said = said or status.get("message") or ""
    return said if len(said) <= _LONGEST_REASON else str(status.get("reason"))


def _parsed(text: bytes) -> Object:
    try:
        answer: Object = json.loads(text)
    except ValueError:  # such as the page of a proxy
        return {"message": text.decode(errors="replace")[:_LONGEST_REASON]}
    return answer


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
