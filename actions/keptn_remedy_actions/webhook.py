"""webhook: sends HTTP requests to hosts that the operator allows, verifies and undoes by others."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, Field, field_validator, model_validator

from keptn_remedy import (
    ActionSettings,
    Change,
    Context,
    Denied,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
    ResourceNotFound,
    TemporaryError,
)
from keptn_remedy_actions.http_calls import Call, Check

if TYPE_CHECKING:
    from keptn_remedy_actions.http_calls.client import Client, Request
    from keptn_remedy_actions.http_calls.rendering import Rendered

_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.25, 3.0
_REPORT_SECONDS = 5.0


class WebhookSettings(ActionSettings):
    """Where requests may go, and where their secrets are."""

    hosts: str = Field(min_length=1)
    """The hosts that requests may go to, separated by commas: `hooks.example.com`,
    `hooks.example.com:8443`, or `*.example.com` for all below it."""
    loopback_hosts: str = ""
    """Those of the hosts that may be on this machine, such as a sidecar."""
    secrets_dir: Path | None = None
    """The folder of the secrets: `{{ secret.token }}` is the file `token` in it."""
    secret_hosts: str = ""
    """Where secrets may go, as pairs of a name or a glob and a host, separated by commas:
    `cdn-token=cdn.example.com, hooks/*=*.example.com`. Others may go to every allowed host."""

    @field_validator("hosts", "loopback_hosts")
    @classmethod
    def _readable(cls, text: str) -> str:
        from keptn_remedy_actions.http_calls.addresses import Hosts

        Hosts.read(text)
        return text

    @field_validator("secret_hosts")
    @classmethod
    def _are_pairs(cls, text: str) -> str:
        from keptn_remedy_actions.http_calls.secret_hosts import SecretHosts

        SecretHosts.read(text)
        return text


class WebhookValue(Call):
    """A request, or a file with requests; and the requests that verify and undo them."""

    url: str = ""
    file: str | None = None
    """A file in Keptn's repository: a webhook.yaml of webhook-service, or a `.http` file."""
    verify: Check | None = None
    undo: Call | None = None
    idempotent: bool = False
    """Whether a request whose answer was lost may be sent again, whatever its method."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.url and self.file:
            raise ValueError("give `url` or `file`, not both")
        return self


class _Memo(BaseModel):
    """The plan's memo: the calls as they are written, without any secret."""

    calls: list[Call]
    verify: Check | None = None
    undo: Call | None = None
    idempotent: bool = False


class _Progress(BaseModel):
    """How far the calls of an execution have come, in the action's memory."""

    execution: str
    done: int = 0
    is_sent: bool = False
    """Whether the next one was sent, and its answer isn't known yet."""
    status: int | None = None


class Webhook(PlannedAction):
    """Send an HTTP request; verify and undo it by further ones."""

    name = "webhook"
    aliases = ("http", "call-url", "generic")
    timeout = 120.0

    Settings: ClassVar[Any] = WebhookSettings
    Value: ClassVar[Any] = WebhookValue

    settings: WebhookSettings

    def __init__(self, settings: WebhookSettings) -> None:
        super().__init__(settings)
        self._client: Client | None = None

    async def close(self) -> None:
        if self._client:
            await self._client.close()

    async def plan(self, context: Context, value: WebhookValue) -> Plan:
        from keptn_remedy_actions.http_calls.rendering import preview, variables_of

        calls = await self._calls(context, value)
        variables = variables_of(context)
        checked = [*calls, *filter(None, (value.verify, value.undo))]
        previews = [preview(call, variables) for call in checked]
        for call, request in zip(checked, previews, strict=True):
            self._http().check(request)
            self._check_secrets(call, request)
        for call in checked:
            await self._secrets(call)
        memo = _Memo(calls=calls, verify=value.verify, undo=value.undo, idempotent=value.idempotent)
        changes = tuple(_changes(previews[: len(calls)]))
        return Plan(changes, memo=memo.model_dump(mode="json", by_alias=True))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        progress = await self._progress(context)
        for number, call in enumerate(memo.calls[progress.done :], progress.done):
            if progress.is_sent and not (call.is_repeatable or memo.idempotent):
                _check_may_go_on(call, memo)
            else:
                await self._take(context, call, number, progress, memo)
            progress = progress.model_copy(update={"done": number + 1, "is_sent": False})
            await self._keep(context, progress)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        progress = await self._progress(context)
        said = "; ".join(f"{change.target}: sent" for change in plan.changes)
        if progress.status:
            said = f"{said}, answered {progress.status}"
        if not memo.verify:
            return Outcome.passed(said, status=str(progress.status or "unknown"))
        contrary = await self._until_held(context, memo.verify)
        if contrary:
            return Outcome.failed(f"{said}; but {contrary}")
        return Outcome.passed(f"{said}; verified", status=str(progress.status or "unknown"))

    async def undo(self, context: Context, plan: Plan) -> str | None:
        memo = _Memo.model_validate(plan.memo)
        progress = await self._progress(context)
        if progress.execution == context.trigger.id and not (progress.done or progress.is_sent):
            return "there was nothing to undo"
        if not memo.undo:
            raise Denied("a request can't be taken back: its value has no `undo`")
        undone = _Progress.model_validate(
            await context.memory.get(_undo_key(context)) or {"execution": context.trigger.id}
        )
        if undone.done:
            return None
        if undone.is_sent and not (memo.undo.is_repeatable or memo.idempotent):
            raise PermanentError(
                "the undo was sent, and its answer was lost or not the expected one: look whether"
                " it took effect"
            )
        if (
            memo.verify
            and not undone.is_sent
            and (why := await self._contrary(context, memo.verify))
        ):
            raise Denied(f"{why}: it is not as it was left, so nothing is undone")
        await self._send_undo(context, memo.undo, undone)
        return None

    async def _send_undo(self, context: Context, call: Call, undone: _Progress) -> None:
        from keptn_remedy_actions.http_calls.sending import NotTaken, Refused, send

        key = _undo_key(context)
        await context.memory.put(key, undone.model_copy(update={"is_sent": True}).model_dump())
        try:
            await send(self._http(), call, await self._rendered(context, call, "undo"))
        except (NotTaken, Refused, Denied):
            await context.memory.put(key, None)
            raise
        await context.memory.put(key, undone.model_copy(update={"done": 1}).model_dump())

    async def _take(
        self, context: Context, call: Call, number: int, progress: _Progress, memo: _Memo
    ) -> None:
        """Send one call. What was sent is noted before, so that a crash doesn't send it twice."""
        from keptn_remedy_actions.http_calls.sending import NotTaken, Refused, Uncertain, send

        made = await self._rendered(context, call, number)
        await self._keep(context, progress.model_copy(update={"is_sent": True}))
        try:
            answer = await send(self._http(), call, made)
        except (NotTaken, Refused, Denied):
            await self._keep(context, progress)
            raise
        except Uncertain as error:
            if call.is_repeatable or memo.idempotent:
                raise
            _check_may_go_on(call, memo, str(error))
            return
        progress.status = answer.status

    async def _calls(self, context: Context, value: WebhookValue) -> list[Call]:
        if value.url:
            written = value.model_dump(include=set(Call.model_fields), by_alias=True)
            return [Call.model_validate(written)]
        from keptn_remedy_actions.http_calls.keptn_files import calls_in

        sought = [value.file] if value.file else _usual_files(context)
        for uri in sought:
            try:
                return calls_in(uri, await context.keptn.resource(uri))
            except ResourceNotFound:
                continue
        raise PermanentError(f"the value has no `url`, and Keptn has no file {' or '.join(sought)}")

    async def _until_held(self, context: Context, check: Check) -> str:
        """Ask until it holds; else what was found last."""
        left = min(check.seconds, context.seconds_left - _REPORT_SECONDS)
        pause = _FIRST_LOOK_SECONDS
        while (contrary := await self._contrary(context, check)) and pause < left:
            await asyncio.sleep(pause)
            left -= pause
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        return contrary

    async def _contrary(self, context: Context, check: Check) -> str:
        """What speaks against the effect; empty where it holds."""
        from keptn_remedy_actions.http_calls.sending import Unexpected, send

        try:
            await send(self._http(), check, await self._rendered(context, check, "verify"))
        except (Unexpected, TemporaryError) as error:
            return str(error)
        return ""

    async def _rendered(self, context: Context, call: Call, which: int | str) -> Rendered:
        from keptn_remedy_actions.http_calls.rendering import rendered, variables_of

        made = rendered(call, variables_of(context), await self._secrets(call))
        self._check_secrets(call, made.request)
        if call.is_repeatable:
            return made
        return made.with_header(
            "Idempotency-Key", str(uuid5(NAMESPACE_URL, f"{context.trigger.id}/{which}"))
        )

    async def _secrets(self, call: Call) -> Mapping[str, str]:
        from keptn_remedy_actions.http_calls.rendering import read_secrets, secrets_of

        if not (names := secrets_of(call)):
            return {}
        return await asyncio.to_thread(read_secrets, self.settings.secrets_dir, names)

    def _check_secrets(self, call: Call, request: Request) -> None:
        """Refuse to send a secret to another host than those that it is named for."""
        if self.settings.secret_hosts:
            from keptn_remedy_actions.http_calls.rendering import secrets_of
            from keptn_remedy_actions.http_calls.secret_hosts import SecretHosts

            SecretHosts.read(self.settings.secret_hosts).check(secrets_of(call), request.url)

    def _http(self) -> Client:
        """Made when the first request is due: an action that isn't used costs nothing."""
        if self._client is None:
            from keptn_remedy_actions.http_calls.addresses import Hosts, Reach
            from keptn_remedy_actions.http_calls.client import Client

            settings = self.settings
            reach = Reach(Hosts.read(settings.hosts), Hosts.read(settings.loopback_hosts))
            self._client = Client(reach)
        return self._client

    async def _progress(self, context: Context) -> _Progress:
        kept = await context.memory.get(_key(context))
        if kept and kept.get("execution") == context.trigger.id:
            return _Progress.model_validate(kept)
        # That of an earlier execution of the same service: all of its calls were made.
        return _Progress(execution="" if kept else context.trigger.id)

    async def _keep(self, context: Context, progress: _Progress) -> None:
        kept = progress.model_copy(update={"execution": context.trigger.id})
        await context.memory.put(_key(context), kept.model_dump())


def _usual_files(context: Context) -> list[str]:
    """Where Keptn's services look: the generic-executor by the action's name."""
    name = context.trigger.action
    return [
        f"generic-executor/action.triggered.{name}.http",
        "generic-executor/action.triggered.http",
        "webhook/webhook.yaml",
        "webhook.yaml",
    ]


def _check_may_go_on(call: Call, memo: _Memo, why: str = "") -> None:
    """After a lost answer only `verify` can tell.

    Raises:
        PermanentError: there is none.
    """
    if not memo.verify:
        raise PermanentError(
            f"{why or _lost(call)}: it may have had its effect, so it is not sent again; `verify`"
            " could tell, and `idempotent: true` would allow it"
        )


def _lost(call: Call) -> str:
    return f"the answer to a {call.method} was lost"


def _key(context: Context) -> str:
    """One entry for each service, whose executions run one after the other."""
    trigger = context.trigger
    place = f"{trigger.project}\0{trigger.stage}\0{trigger.service}"
    return f"calls of {hashlib.sha256(place.encode()).hexdigest()[:32]}"


def _undo_key(context: Context) -> str:
    return f"undo of {context.trigger.id}"


def _changes(requests: list[Request]) -> Iterator[Change]:
    from keptn_remedy_actions.http_calls.rendering import described

    for number, request in enumerate(requests, 1):
        which = "request" if len(requests) == 1 else f"request {number}"
        target, shown = described(request)
        yield Change(target, which, "not sent", shown)
