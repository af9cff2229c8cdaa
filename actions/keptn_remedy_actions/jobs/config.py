"""Reads the job-executor's `job/config.yaml` (v2): the tasks that it has for a trigger."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any, Literal

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keptn_remedy import Context, PermanentError
from keptn_remedy_actions.http_calls.json_path import NOTHING, value_at
from keptn_remedy_actions.jobs import LIMITS, Task
from keptn_remedy_actions.jobs.files import checked_path

URI = "job/config.yaml"
IGNORED = ("serviceAccount", "silent", "networkPolicy", "onError")
"""Fields that have no effect here."""
MOST_TASKS = 20
# What a task may say of its container's security: nothing that gives it more.
_SECURITY = frozenset({"runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem"})


class _JsonPath(BaseModel):
    property: str
    match: Any


class _Event(BaseModel):
    name: str
    jsonpath: _JsonPath | None = None


class _Env(BaseModel):
    name: str
    value: str = ""
    value_from: Literal["event", "secret", "string"] = Field(alias="valueFrom")
    formatted: Literal["", "json", "yaml", "string"] = Field(default="", alias="as")


class _Task(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    image: str = Field(min_length=1)
    cmd: str | list[str] = []
    args: str | list[str] = []
    files: list[str] = []
    env: list[_Env] = []
    working_dir: str | None = Field(default=None, alias="workingDir")
    resources: dict[str, dict[str, str | int | float]] | None = None
    seconds: int | None = Field(default=None, alias="maxPollDuration", gt=0)
    namespace: str = ""
    annotations: dict[str, str] | list[dict[str, str]] = {}
    security: dict[str, Any] = Field(default={}, alias="securityContext")
    pull_policy: str | None = Field(default=None, alias="imagePullPolicy")
    keep_seconds: int | None = Field(default=None, alias="ttlSecondsAfterFinished", ge=0)


class _Action(BaseModel):
    name: str
    events: list[_Event] = []
    tasks: list[_Task] = Field(max_length=MOST_TASKS)


class _Config(BaseModel):
    api_version: Literal["v2"] = Field(alias="apiVersion")
    actions: list[_Action]


def tasks_in(content: bytes, context: Context) -> list[Task]:
    """The tasks of all actions that match the trigger, in the file's order.

    Raises:
        PermanentError: the file can't be read, has none, or asks for what isn't supported.
    """
    try:
        config = _Config.model_validate(yaml.safe_load(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PermanentError(f"{URI}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise PermanentError(f"{URI}: it is not YAML") from None
    event = orjson.loads(context.trigger.body)
    matching = [action for action in config.actions if _is_for(action, event)]
    tasks = [_task(task, event) for action in matching for task in action.tasks]
    if not tasks or len(tasks) > MOST_TASKS:
        raise PermanentError(f"{URI}: it has {len(tasks)} tasks for {event['type']}")
    return tasks


def _is_for(action: _Action, event: Any) -> bool:
    return any(
        fnmatchcase(event["type"], each.name)
        and (not each.jsonpath or _value(each.jsonpath.property, event) == each.jsonpath.match)
        for each in action.events
    )


def _task(task: _Task, event: Any) -> Task:
    annotations = task.annotations
    if isinstance(annotations, list):
        annotations = {key: text for each in annotations for key, text in each.items()}
    spec: dict[str, Any] = {"template": {"spec": {"containers": [_container(task, event)]}}}
    if task.seconds:
        spec["activeDeadlineSeconds"] = task.seconds
    if task.keep_seconds is not None:
        spec["ttlSecondsAfterFinished"] = task.keep_seconds
    manifest = {"metadata": {"annotations": annotations}, "spec": spec}
    files = [checked_path(uri) for uri in task.files]
    return Task(name=task.name, namespace=task.namespace, manifest=manifest, files=files)


def _container(task: _Task, event: Any) -> dict[str, Any]:
    if unsafe := set(task.security) - _SECURITY:
        raise PermanentError(f"{URI}: securityContext.{min(unsafe)} of {task.name!r} isn't allowed")
    container: dict[str, Any] = {
        "name": _label(task.name),
        "image": task.image,
        "command": [task.cmd] if isinstance(task.cmd, str) else task.cmd,
        "args": [task.args] if isinstance(task.args, str) else task.args,
        "env": [_variable(each, event) for each in task.env if each.value_from != "secret"],
        "envFrom": [
            {"secretRef": {"name": each.name}} for each in task.env if each.value_from == "secret"
        ],
        "securityContext": {
            **task.security,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if task.working_dir:
        container["workingDir"] = task.working_dir
    if task.pull_policy:
        container["imagePullPolicy"] = task.pull_policy
    if task.resources is not None:
        # As the job-executor does: what isn't written is the default.
        container["resources"] = {
            kind: {**usual, **task.resources.get(kind, {})} for kind, usual in LIMITS.items()
        }
    return container


def _variable(each: _Env, event: Any) -> dict[str, str]:
    if each.value_from == "string":
        return {"name": each.name, "value": each.value}
    found = _value(each.value, event)
    if found is NOTHING:
        raise PermanentError(
            f"{URI}: the event has nothing at {each.value}, which {each.name} needs"
        )
    if each.formatted == "yaml":
        text = yaml.safe_dump(found)
    elif isinstance(found, str) and each.formatted != "json":
        text = found
    else:
        text = orjson.dumps(found).decode()
    return {"name": each.name, "value": text.replace("$(", "$$(")}


def _value(path: str, event: Any) -> Any:
    try:
        return value_at(path, event)
    except ValueError as error:
        raise PermanentError(f"{URI}: {error}") from None


def _label(name: str) -> str:
    """A name that a container may have."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].rstrip("-") or "task"
