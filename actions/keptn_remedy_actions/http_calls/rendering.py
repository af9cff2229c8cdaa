"""From a call and the trigger to the request: templates, secrets, the signature of the body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import orjson
from yarl import URL

from keptn_remedy import Context, PermanentError
from keptn_remedy_actions.http_calls import Call, templates
from keptn_remedy_actions.http_calls.client import Request
from keptn_remedy_actions.http_calls.templates import SECRET, compiled

MOST_BODY_BYTES = 256 * 1024
_MOST_SECRET_CHARACTERS = 16_384
_SECRET_NAME = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,252})?"
)
_HIDDEN = "********"
_LONGEST_TARGET, _LONGEST_SHOWN = 900, 400


def variables_of(context: Context) -> dict[str, Any]:
    """What templates may use: the event's attributes and `data`, and its usual parts by name."""
    trigger = context.trigger
    event: dict[str, Any] = orjson.loads(trigger.body)
    data: dict[str, Any] = event.get("data") or {}
    problem = data.get("problem")
    return {
        **event,
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
        "labels": dict(trigger.labels),
        "problem": problem if isinstance(problem, dict) else {},
        "value": trigger.value,
        "data": data,
    }


class Rendered(NamedTuple):
    """A request, and the texts that must not be shown, since they hold secrets."""

    request: Request
    hidden: tuple[str, ...]

    def with_header(self, name: str, text: str) -> Rendered:
        """The same with a further header, unless it has one of that name."""
        request = self.request
        if any(each.lower() == name.lower() for each, _ in request.headers):
            return self
        headers = (*request.headers, (name, text))
        return self._replace(request=request._replace(headers=headers))

    def shown(self, text: str) -> str:
        """The text without them."""
        for each in self.hidden:
            text = text.replace(each, _HIDDEN)
        return text


def secrets_of(call: Call) -> frozenset[str]:
    """The names of the secrets that the call refers to."""
    names = frozenset[str]().union(*(compiled(text).secrets for text in call.texts()))
    return names | {call.hmac.secret} if call.hmac else names


def preview(call: Call, variables: Mapping[str, Any]) -> Request:
    """The request with the names of secrets in place of them, unsigned."""
    return _filled(call, variables, {name: f"<secret {name}>" for name in secrets_of(call)})


def rendered(call: Call, variables: Mapping[str, Any], secrets: Mapping[str, str]) -> Rendered:
    """The request as it is sent; `secrets` are those that it refers to.

    Raises:
        PermanentError: it can't be made of this event.
    """
    request = _filled(call, variables, secrets)
    if call.hmac:
        key = secrets[call.hmac.secret].encode()
        digest = hmac.new(key, request.body or b"", call.hmac.algorithm).hexdigest()
        signature = (call.hmac.header, f"{call.hmac.prefix}{digest}")
        request = request._replace(headers=(*request.headers, signature))
    return Rendered(request, tuple(_forms(secrets.values(), call, request)) if secrets else ())


def read_secrets(folder: Path | None, names: Iterable[str]) -> dict[str, str]:
    """The secrets of these names, from files. It blocks.

    Raises:
        PermanentError: there is none of that name.
    """
    found = dict[str, str]()
    for name in sorted(names):
        if not _SECRET_NAME.fullmatch(name):
            raise PermanentError(f"{name!r} is not the name of a secret")
        if folder is None:
            raise PermanentError(f"the secret {name} is wanted, but WEBHOOK_SECRETS_DIR is not set")
        try:
            text = (folder / name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise PermanentError(f"the secret {name} can't be read: {why}") from None
        if not text or len(text) > _MOST_SECRET_CHARACTERS:
            raise PermanentError(f"the secret {name} is empty or too long")
        found[name] = text
    return found


def _filled(call: Call, variables: Mapping[str, Any], secrets: Mapping[str, str]) -> Request:
    known = templates.variables({**variables, SECRET: secrets})

    def fill(text: str) -> str:
        return compiled(text).render(known)

    headers = {name: fill(text) for name, text in call.headers.items()}
    for name, text in headers.items():
        if any(not character.isprintable() and character != "\t" for character in text):
            raise PermanentError(f"the header {name} would have more than one line of text")
    body = _body(call.body, fill, headers)
    if body is not None and len(body) > MOST_BODY_BYTES:
        raise PermanentError(
            f"the body would have {len(body):,} bytes, and may have {MOST_BODY_BYTES:,}"
        )
    try:
        url = URL(fill(call.url).strip())
    except ValueError:
        raise PermanentError("the url is not an address") from None
    return Request(call.method, url, tuple(headers.items()), body, call.timeout)


def _body(body: Any, fill: Any, headers: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    has_type = any(name.lower() == "content-type" for name in headers)
    if isinstance(body, str):
        text = fill(body)
        if not has_type:
            headers["Content-Type"] = "application/json" if _is_json(text) else "text/plain"
        return str(text).encode()
    if not has_type:
        headers["Content-Type"] = "application/json"
    return orjson.dumps(_filled_in(body, fill))


def _filled_in(value: Any, fill: Any) -> Any:
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {str(key): _filled_in(item, fill) for key, item in entries.items()}
    if isinstance(value, list):
        return [_filled_in(item, fill) for item in cast("Iterable[Any]", value)]
    return value


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _forms(secrets: Iterable[str], call: Call, request: Request) -> Iterable[str]:
    """The secrets in the forms in which a peer may repeat them, the longest first."""
    forms = set[str]()
    for secret in secrets:
        forms |= {secret, quote(secret, safe=""), orjson.dumps(secret).decode()[1:-1]}
        forms.add(base64.b64encode(secret.encode()).decode())
        forms |= {URL.build(path=f"/{secret}").raw_path[1:], secret.lower()}
    for name, text in request.headers:
        if name in call.headers and compiled(call.headers[name]).secrets:
            forms |= {text, text.rpartition(" ")[2]}
    return sorted((form for form in forms if form), key=len, reverse=True)


def described(request: Request) -> tuple[str, str]:
    """The request as a plan shows it: where it goes, and what is sent."""
    target = str(request.url.with_query(None).with_fragment(None))[:_LONGEST_TARGET]
    query = f"?{request.url.query_string}" if request.url.query_string else ""
    headers = ", ".join(f"{name}: {text}" for name, text in request.headers)
    body = (request.body or b"").decode("utf-8", "replace")
    shown = " ".join(" ".join(filter(None, (request.method, query, headers, body))).split())
    if len(shown) > _LONGEST_SHOWN:
        digest = hashlib.sha256(shown.encode()).hexdigest()[:12]
        shown = f"{shown[:_LONGEST_SHOWN]}… ({digest})"
    return target, shown
