"""Reads Keptn's own files: the webhook-service's webhook.yaml, the generic-executor's .http."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from keptn_remedy import PermanentError
from keptn_remedy_actions.http_calls import Call
from keptn_remedy_actions.http_calls.templates import entry, literal

MOST_REQUESTS = 20
TRIGGERED = "sh.keptn.event.action.triggered"

# `{{.data.project}}` of Go's templates; further functions of theirs are refused.
_GO = re.compile(r"\{\{-?\s*\.([\w.-]+?)\s*-?\}\}")
# `${data.project}` and, in files for old releases, `$PROJECT`.
_BRACED = re.compile(r"\$\{([\w.-]+)\}|\$(LABEL_\w+|ENV_\w+|[A-Z]{5,})")
# In no file: what stands for an expression meanwhile.
_MARK = "\ue000"
_OLD: Mapping[str, str] = {
    "CONTEXT": "shkeptncontext",
    "EVENT": "type",
    "SOURCE": "source",
    "TIMESTRING": "time",
    "TIMEUTC": "time",
    "PROJECT": "data.project",
    "STAGE": "data.stage",
    "SERVICE": "data.service",
}
# Options of curl with a value, and those that change nothing here.
_WITH_VALUE = {
    "-X": "method", "--request": "method",
    "-H": "header", "--header": "header",
    "-d": "data", "--data": "data", "--data-raw": "data", "--data-binary": "data",
    "--data-ascii": "data", "--json": "json",
    "--url": "url",
    "-m": "seconds", "--max-time": "seconds",
    "-u": "user", "--user": "user",
    "-A": "agent", "--user-agent": "agent",
    "--connect-timeout": "", "--retry": "", "--retry-delay": "", "--retry-max-time": "",
}  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    [
        "-s",
        "--silent",
        "-S",
        "--show-error",
        "-f",
        "--fail",
        "--fail-with-body",
        "-v",
        "--verbose",
        "-i",
        "--include",
        "--compressed",
        "-sS",
        "-Ss",
        "-fsS",
        "--http1.1",
        "-g",
        "--globoff",
    ]
)


class _SecretRef(BaseModel):
    name: str
    key: str


class _EnvFrom(BaseModel):
    name: str
    secret: _SecretRef = Field(alias="secretRef")


class _Header(BaseModel):
    key: str
    value: str


class _Request(BaseModel):
    """A request of v1beta1."""

    url: str
    method: str = "GET"
    headers: list[_Header] = []
    payload: str = ""
    options: str = ""


class _Webhook(BaseModel):
    type: str = ""
    env_from: list[_EnvFrom] = Field(default=[], alias="envFrom")
    requests: list[str | _Request] = Field(min_length=1, max_length=MOST_REQUESTS)


class _Spec(BaseModel):
    webhooks: list[_Webhook]


class _Config(BaseModel):
    api_version: str = Field(
        alias="apiVersion", pattern=r"^webhookconfig\.keptn\.sh/v1(alpha|beta)1$"
    )
    spec: _Spec


def calls_in(uri: str, content: bytes) -> list[Call]:
    """The requests of a file, in its order: `.http`, or else a WebhookConfig.

    Raises:
        PermanentError: the file can't be read, or asks for what isn't supported.
    """
    try:
        text = content.decode()
        return [_http_file(text)] if uri.endswith(".http") else _webhooks(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise PermanentError(f"{uri}: {at}: {first['msg']}") from None
    except (ValueError, yaml.YAMLError) as error:
        why = "it is not YAML" if isinstance(error, yaml.YAMLError) else str(error)
        raise PermanentError(f"{uri}: {why}") from None


def _webhooks(text: str) -> list[Call]:
    config = _Config.model_validate(yaml.safe_load(text))
    found = [each for each in config.spec.webhooks if each.type in (TRIGGERED, "")]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} webhooks of type {TRIGGERED}, and must have one")
    [webhook] = found
    secrets = {each.name: f"{each.secret.name}/{each.secret.key}" for each in webhook.env_from}

    marks = _Marks(secrets)
    return [
        _curl(shlex.split(marks.put(each)), marks.expressions)
        if isinstance(each, str)
        else _of_request(each, marks)
        for each in webhook.requests
    ]


class _Marks:
    """Stands in for Go's expressions while a command line is taken apart: those may hold spaces,
    and what replaces them in the end may hold quotes.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._found = list[str]()

    def put(self, written: str) -> str:
        """The text with a mark for each expression."""
        marked = _GO.sub(self._mark, written.replace(_MARK, ""))
        if "{{" in marked:
            raise ValueError(
                "templates may read fields of the event only, such as {{.data.project}}"
            )
        return marked

    def expressions(self, marked: str) -> str:
        """The template that the text stands for."""
        first, *others = marked.split(_MARK)
        parts = [literal(first)]
        for other in others:
            number, _, text = other.partition(";")
            parts += [_of_event(self._found[int(number)], self._secrets), literal(text)]
        return "".join(parts)

    def _mark(self, found: re.Match[str]) -> str:
        self._found.append(found[1])
        return f"{_MARK}{len(self._found) - 1};"


def _of_request(request: _Request, marks: _Marks) -> Call:
    command = ["curl", "-X", request.method, "--url", marks.put(request.url)]
    for header in request.headers:
        command += ["-H", f"{header.key}: {marks.put(header.value)}"]
    if request.payload:
        command += ["-d", marks.put(request.payload)]
    return _curl([*command, *shlex.split(marks.put(request.options))], marks.expressions)


def _curl(words: list[str], translate: Callable[[str], str]) -> Call:
    """The call that a command line of curl makes.

    Raises:
        ValueError: it has an option that isn't supported.
    """
    if not words or words[0] != "curl":
        raise ValueError("a request must begin with curl")
    options = list(_options(words[1:]))
    urls = [value for option, value in options if option == "url"]
    if len(urls) != 1:
        raise ValueError("a request must have one address")
    headers = dict(_headers(options, translate))
    given: dict[str, Any] = {"url": translate(urls[0]), "method": "GET"}
    if data := [value for option, value in options if option in ("data", "json")]:
        if any(value.startswith("@") for value in data):
            raise ValueError("files can't be sent")
        is_json = any(option == "json" for option, _ in options)
        kind = "application/json" if is_json else "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind, **headers}
        given |= {"method": "POST", "body": translate("&".join(data))}
    for option, value in options:
        if option == "method":
            given["method"] = value
        elif option == "seconds":
            given["timeout"] = float(value)
    return Call.model_validate({**given, "headers": headers})


def _headers(
    options: list[tuple[str, str]], translate: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    for option, value in options:
        if option == "header":
            name, _, text = value.partition(":")
            is_type = name.strip().lower() == "content-type"
            yield "Content-Type" if is_type else name.strip(), translate(text.strip())
        elif option == "user":
            yield "Authorization", _basic(translate(value))
        elif option == "agent":
            yield "User-Agent", translate(value)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """What the options of a command line mean, with their values."""
    left = iter(words)
    for word in left:
        name, equals, inline = word.partition("=") if word.startswith("--") else (word, "", "")
        short = word[:2]
        if name in _WITH_VALUE:
            value = inline if equals else next(left, None)
            if value is None:
                raise ValueError(f"the option {name} needs a value")
            yield _WITH_VALUE[name], value
        elif word.startswith("-") and not word.startswith("--") and short in _WITH_VALUE:
            yield _WITH_VALUE[short], word[2:]
        elif not word.startswith("-"):
            yield "url", word
        elif word not in _WITHOUT_EFFECT:
            raise ValueError(f"the option {name} of curl is not supported")


def _basic(pair: str) -> str:
    """The header for user and password, which may be templates of one expression each."""
    parts = [part for part in re.split(r"(\{\{.*?\}\})", pair) if part]
    terms = [part[2:-2].strip() if part.startswith("{{") else repr(part) for part in parts]
    return "Basic {{ (" + " ~ ".join(terms) + ") | b64encode }}"


def _http_file(text: str) -> Call:
    """The call of a `.http` file: a request line, headers, an empty line, the body."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if not line.startswith("#")]
    while lines and not lines[0].strip():
        lines.pop(0)
    if not lines:
        raise ValueError("it has no request")
    first = lines.pop(0).split()
    method, url = (first[0], first[1]) if len(first) > 1 else ("GET", first[0])
    headers = dict[str, str]()
    while lines and (line := lines.pop(0).strip()):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"{line[:60]!r} is not a header")
        headers[name.strip()] = _of_http_file(value.strip())
    body = "\n".join(lines).strip("\n")
    given = {"method": method, "url": _of_http_file(url), "headers": headers}
    return Call.model_validate({**given, "body": _of_http_file(body)} if body else given)


def _of_http_file(text: str) -> str:
    def expression(found: re.Match[str]) -> str:
        path, word = found[1], found[2]
        if path:
            return _of_event(path.replace("data.label.", "data.labels."), {})
        if word.startswith("LABEL_"):
            return entry(f"data.labels.{word.removeprefix('LABEL_')}")
        if word.startswith("ENV_"):
            return _of_event(f"env.{word.removeprefix('ENV_')}", {})
        return entry(_OLD[word]) if word in _OLD else literal(found[0])

    parts, at = list[str](), 0
    for found in _BRACED.finditer(text):
        parts += [literal(text[at : found.start()]), expression(found)]
        at = found.end()
    return "".join([*parts, literal(text[at:])])


def _of_event(path: str, secrets: Mapping[str, str]) -> str:
    """The expression for a path of the event, or for a secret under `env`.

    Variables of this process are never read: they may hold anything.
    """
    if not path.startswith("env."):
        return entry(path)
    name = path.removeprefix("env.")
    if secrets and name not in secrets:
        raise ValueError(f"env.{name} is not in envFrom")
    return "{{ secret[" + repr(secrets.get(name, name)) + "] }}"
