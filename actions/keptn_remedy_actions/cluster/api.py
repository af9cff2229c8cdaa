"""The API server: JSON in and out, time-outs, and errors as actions raise them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientConnectionError, ClientError, ClientResponseError

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.cluster import Kind, Object, Ref
from keptn_remedy_actions.cluster.answers import LONGEST, is_denial, reason_of
from keptn_remedy_actions.cluster.connection import SERVICE_ACCOUNT, Client, Connection, way_to
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.reaching import why_unreached

FIELD_MANAGER = "keptn-remedy"
REQUEST_SECONDS = 15
# The API server waits for admission webhooks, up to 34 s for a write.
WRITE_SECONDS = 40
PAGE = 500
PLAIN = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

FAILURES = (PermanentError, TemporaryError, ClientError, TimeoutError)
"""Everything that a call may raise."""

_TEMPORARY = frozenset({408, 425, 429})
# Within seconds a replaced token is mounted, and an authenticator has restarted.
_UNAUTHORIZED_SECONDS = 15.0
_FORGOTTEN_SECONDS = 60.0
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


class Unreachable(TemporaryError, ClientConnectionError):
    """No connection to the API server; says on which way."""


_NAMED: Mapping[int, Callable[[str], Exception]] = {
    404: NotFound,
    409: Conflict,
    422: Unprocessable,
}


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, which is sent once."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    content_type: str = PLAIN

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def seconds(self) -> int:
        """How long its answer may take."""
        return REQUEST_SECONDS if self.method == "GET" else WRITE_SECONDS

    async def sent(self, client: Client) -> Any:
        """The answer, whatever its status is."""
        _, url, headers, body, _ = await client.param_serialize(
            self.method,
            self.path,
            query_params=list(self.query.items()),
            header_params={"Content-Type": self.content_type},
            body=self.body,
            auth_settings=["BearerToken"],
        )
        return await client.call_api(self.method, url, headers, body, _request_timeout=self.seconds)


class ClusterApi:
    """One cluster. It connects at the first call; objects are plain JSON.

    Calls raise TemporaryError, PermanentError, one of the above, or TimeoutError.
    """

    def __init__(self, settings: KubernetesSettings, account: Path = SERVICE_ACCOUNT) -> None:
        self._connection = Connection(settings, account)
        self._unauthorized: tuple[float, float] | None = None  # first and last of a series
        self._lost_at = float("-inf")
        self._eviction = ""
        self._now = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        """What the API server's clock said at its last answer, and the time since: what the cluster
        stamps is compared with that. Our own clock, where answers have no `Date`.
        """
        said, at = self._now
        return said + timedelta(seconds=time.monotonic() - at)

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

    async def patch(
        self, ref: Ref, how: str, body: Any, subresource: str = "", *, dry_run: bool = False
    ) -> Object:
        """Patch an object, and return it as admission let it pass; `how` is one of the media types
        above. With `dry_run`, the API server decides everything and stores nothing.
        """
        query = {"fieldManager": FIELD_MANAGER}
        query |= {"dryRun": "All"} if dry_run else {}
        return await self._call("patch", "PATCH", ref, subresource, query, body, how)

    async def create(
        self, kind: Kind, namespace: str, body: Object, *, dry_run: bool = False
    ) -> Object:
        query = {"fieldManager": FIELD_MANAGER}
        query |= {"dryRun": "All"} if dry_run else {}
        return await self._call("create", "POST", Ref(kind, namespace, ""), query=query, body=body)

    async def delete(self, ref: Ref, uid: str, *, propagation: str = "") -> None:
        """Delete the object with this uid; another one of the same name stays. `propagation` is
        what becomes of the objects that it owns, if not what is usual for its kind.
        """
        body: dict[str, Any] = {"preconditions": {"uid": uid}}
        body |= {"propagationPolicy": propagation} if propagation else {}
        await self._call("delete", "DELETE", ref, body=body)

    async def evict(self, pod: Ref, uid: str) -> str:
        """Have the pod with this uid evicted. Empty if it leaves or is gone; else why it may not
        leave now, such as a disruption budget.
        """
        self._eviction = self._eviction or await self._eviction_version()
        body = {
            "apiVersion": self._eviction,
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        status, delay, answer = await self._request(
            _Request("POST", f"{pod.path}/eviction", body=body)
        )
        if status < 300 or status in (404, 409):  # gone, or another one of its name
            return ""
        if status == 429:
            return reason_of(answer)
        raise _error(status, delay, answer, f"create pods/eviction {pod.name} in {pod.namespace}")

    async def _eviction_version(self) -> str:
        """policy/v1 since Kubernetes 1.22."""
        served = [each for each in await self.resources("v1") if each["name"] == "pods/eviction"]
        if not served:
            raise NotFound("the cluster has no pods/eviction")
        return f"{served[0].get('group', 'policy')}/{served[0].get('version', 'v1')}"

    async def log(self, pod: Ref, *, lines: int) -> str:
        """The last lines of a pod's log, at most 16 KiB."""
        query = {"tailLines": str(lines), "limitBytes": "16384"}
        status, _, _, text = await self._exchange(_Request("GET", f"{pod.path}/log", query))
        if status >= 300:
            answer = _parsed(text) or {}
            raise _error(status, None, answer, f"get pods/log {pod.name} in {pod.namespace}")
        return text.decode(errors="replace")

    async def resources(self, api_version: str) -> Sequence[Object]:
        """The resources of a group and version (API discovery)."""
        root = "apis" if "/" in api_version else "api"
        status, delay, answer = await self._request(_Request("GET", f"/{root}/{api_version}"))
        if status == 404:
            raise NotFound(f"the cluster has no {api_version}")
        if status >= 300:
            raise _error(status, delay, answer, f"discover {api_version}")
        found: Sequence[Object] = answer["resources"]
        return found

    async def may(self, namespace: str, verb: str, resource: str, group: str) -> bool:
        """Whether we may do this there (SelfSubjectAccessReview); `a/b` is a subresource."""
        name, _, subresource = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": name}
        attributes |= {"subresource": subresource} if subresource else {}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status, delay, answer = await self._request(_Request("POST", path, body=body))
        if status >= 300:
            raise _error(status, delay, answer, "review our own access")
        return bool(answer.get("status", {}).get("allowed"))

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
        asked = _Request(method, path, query or {}, body, content_type or PLAIN)
        status, delay, answer = await self._request(asked)
        if status < 300:
            return answer
        if status in (403, 404) and time.monotonic() < self._lost_at + _STARTING_SECONDS:
            raise TemporaryError(
                f"the API server was unreachable a moment ago, and answers {status}", 1
            )
        resource = ref.kind.resource + (f"/{subresource}" if subresource else "")
        where = f"{verb} {resource} {ref.name}".rstrip()
        where += f" in {ref.namespace}" if ref.namespace else " in the cluster"
        raise _error(status, delay, answer, where)

    async def _request(self, asked: _Request) -> tuple[int, float | None, Object]:
        """Status, the `Retry-After` in seconds, and the answer."""
        status, delay, way, text = await self._exchange(asked)
        answer = _parsed(text)
        if answer is None:  # the page of a proxy
            page = text.decode(errors="replace")[:LONGEST] or "an empty page"
            if status < 300:
                raise TemporaryError(f"{asked}: {way} answered {status}, no JSON: {page}")
            answer = {"message": f"{page} (from {way})"}
        return status, delay, answer

    async def _exchange(self, asked: _Request) -> tuple[int, float | None, str, bytes]:
        """Status, the `Retry-After` in seconds, on which way the answer came, and its text."""
        way = ""
        try:
            async with self._connection.client() as client:
                way = way_to(client)
                response = await asked.sent(client)
                self._note_time(response.headers.get("Date"))
                status, text = response.status, await response.read()
                if status == 401:
                    await self._connection.renew(client)
        except TimeoutError:
            self._lost_at = time.monotonic()
            said = f"{asked}: {way} gave no answer within {asked.seconds} s"
            raise TimeoutError(said) from None
        except ClientError as error:
            self._lost_at = time.monotonic()
            raise Unreachable(f"can't reach {way}: {_told(error)}") from error
        self._check_authorized(status)
        return status, _seconds(response.headers.get("Retry-After")), way, text

    def _note_time(self, date: str | None) -> None:
        now = datetime.now(UTC)
        with suppress(TypeError, ValueError):  # there is none, or it is no time
            now = parsedate_to_datetime(date or "").astimezone(UTC)
        self._now = now, time.monotonic()

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


def rfc3339(moment: datetime) -> str:
    """A time in UTC as the cluster writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _error(status: int, delay: float | None, answer: Object, where: str) -> Exception:
    said = reason_of(answer)
    if status == 403:
        return Forbidden(f"not allowed: {where}: {said}")
    message = f"{where}: the API server answered {status}: {said}"
    if is_denial(answer):
        return PermanentError(message)
    if named := _NAMED.get(status):
        return named(f"{where}: {said}")
    # The answer for a custom resource without its replicas field, which no retry would add.
    is_missing = status == 500 and "replicas" in said and "does not exist" in said
    if (status >= 500 and not is_missing) or status in _TEMPORARY:
        return TemporaryError(message, delay)
    return PermanentError(message)


def _told(error: ClientError) -> str:
    if isinstance(error, ClientResponseError):  # of a proxy; its text has the proxy's password
        return f"it answered {error.status} {error.message}"
    return why_unreached(error)


def _parsed(text: bytes) -> Object | None:
    """The answer; None if it is no JSON object."""
    try:
        answer: Any = json.loads(text)
    except ValueError:
        return None
    return cast("Object", answer) if isinstance(answer, dict) else None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
