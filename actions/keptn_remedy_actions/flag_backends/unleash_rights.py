"""What `remedy doctor` says of Unleash: whether the token reads flags, and may switch them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from keptn_remedy import Finding, proxy_for
from keptn_remedy_actions.reaching import why_unreached

ABOUT = "unleash"
SWITCH, ADD = "UPDATE_FEATURE_ENVIRONMENT", "CREATE_FEATURE_STRATEGY"


@dataclass(frozen=True, slots=True)
class _Admin:
    """The admin API, as far as it is read here."""

    http: ClientSession
    url: str
    token: str = field(repr=False)
    seconds: float

    async def get(self, path: str) -> tuple[int, Any]:
        """The status, and the JSON; None where it is none."""
        address = URL(f"{self.url}/api/admin/{path}")
        async with self.http.get(
            address,
            headers={"Authorization": self.token},
            proxy=proxy_for(address),
            timeout=ClientTimeout(self.seconds),
            allow_redirects=False,
            raise_for_status=False,
        ) as answer:
            return answer.status, _json(await answer.read())


async def diagnose(
    http: ClientSession,
    url: str,
    token: str,
    project: str,
    environments: Collection[str],
    seconds: float,
) -> AsyncIterator[Finding]:
    """Look at the project's flags and at the token's own rights, which change nothing.

    `environments` are those of the stages; none where each stage is its own environment.
    """
    admin = _Admin(http, url, token, seconds)
    try:
        status, flags = await admin.get(f"projects/{project}/features")
        if status != 200 or not isinstance(flags, dict):
            yield _unreadable(url, project, status)
            return
        yield Finding(ABOUT, True, f"{url}: the flags of project {project} can be read")
        status, me = await admin.get("user")
    except (ClientError, TimeoutError) as error:
        late = isinstance(error, TimeoutError)
        why = f"no answer within {seconds:g} s" if late else why_unreached(error)
        to_do = "check UNLEASH_URL and the proxy"
        yield Finding(ABOUT, False, f"{url} can't be reached: {why}", to_do)
        return
    is_told = status == 200 and isinstance(me, dict)
    held = cast("dict[str, Any]", me).get("permissions") if is_told else None
    if not isinstance(held, list):
        yield Finding(ABOUT, None, f"it doesn't tell the token's rights (it answered {status})")
        return
    for environment in environments or ("",):
        yield _switching(cast("Sequence[Any]", held), project, environment)


def _unreadable(url: str, project: str, status: int) -> Finding:
    if status in (401, 403):
        to_do = "UNLEASH_API_TOKEN must be a token for the admin API, with rights in the project"
        return Finding(ABOUT, False, f"{url} refuses the token: it answered {status}", to_do)
    if status == 404:
        to_do = "check UNLEASH_URL and UNLEASH_PROJECT"
        return Finding(ABOUT, False, f"{url} has no project {project}", to_do)
    why = f"{url} is not Unleash's admin API: it answered {status}"
    return Finding(ABOUT, False, why, "check UNLEASH_URL")


def _switching(held: Sequence[Any], project: str, environment: str) -> Finding:
    where = f"{environment} of {project}" if environment else project
    if _has(held, SWITCH, project, environment):
        if _has(held, ADD, project, environment):
            return Finding(ABOUT, True, f"the token may switch flags in {where}")
        but = f"flags without a strategy stay off: it lacks {ADD}"
        return Finding(ABOUT, True, f"the token may switch flags in {where}; {but}")
    why = f"the token may not switch flags in {where}"
    return Finding(ABOUT, False, why, f"give its user {SWITCH} there")


def _has(held: Sequence[Any], right: str, project: str, environment: str) -> bool:
    for each in held:
        right_of = cast("dict[str, Any]", each) if isinstance(each, dict) else {}
        name = right_of.get("permission")
        if name == "ADMIN":
            return True
        if name == right and right_of.get("project") in (None, "", "*", project):
            its = right_of.get("environment")
            if not environment or its in (None, "", "*", environment):
                return True
    return False


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
