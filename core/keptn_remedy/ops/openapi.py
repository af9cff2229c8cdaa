"""`/openapi.json`, made from the models and one table of operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from keptn_remedy.journal import MOST_IGNORED
from keptn_remedy.ops import models, open_models
from keptn_remedy.ops.episode_models import (
    MOST_DAYS,
    USUAL_DAYS,
    EpisodeDetail,
    EpisodesPage,
    IgnoredPage,
    Scores,
)

REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Operation:
    """A summary, the parameters, the model of each status, and the model of an order's body."""

    summary: str
    answers: dict[int, type[BaseModel]]
    parameters: tuple[dict[str, Any], ...] = ()
    order: type[models.AnyOrder] | None = None


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_STATES = {"type": "string", "enum": ["accepted", "started", "finished"]}
_WAITING = {"type": "string", "enum": ["approval"]}
_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_CURSOR = {"type": "integer", "minimum": 0, "maximum": 2**53}
_NAMES = ("project", "stage", "service", "action")
_LIMIT = _query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
    "The most in one answer.",
)
_ORDER_ERRORS = dict.fromkeys((400, 401, 413, 415, 429, 503), models.ProblemDetails)
_EXECUTION_ERRORS = {**_ORDER_ERRORS, 404: models.ProblemDetails, 409: models.ProblemDetails}
OPERATIONS = {
    ("get", "/healthz"): Operation("Liveness.", {200: models.Health}),
    ("get", "/readyz"): Operation("Readiness.", {200: models.Readiness, 503: models.Readiness}),
    ("get", "/api/executions"): Operation(
        "Executions, newest first.",
        {200: models.Executions, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (
            _query("state", _STATES, "Only those in this state."),
            _query("waiting", _WAITING, "Only those that wait for approval."),
            *(_query(name, _TEXT, f"Only those of this {name}.") for name in _NAMES),
            _query("result", _TEXT, "Only those with this result or status."),
            _query("context", _TEXT, "Only those of this Keptn context."),
            _query("since", _MOMENT, "Only those accepted at that time or later."),
            _LIMIT,
            _query("before", _CURSOR, "`next` of the previous page, or a `cursor`."),
        ),
    ),
    ("get", "/api/executions/{id}"): Operation(
        "One execution.",
        {200: models.ExecutionDetail, 404: models.ProblemDetails, 503: models.ProblemDetails},
        (_ID,),
    ),
    ("get", "/api/feed"): Operation(
        "Executions, oldest first.",
        {200: models.Executions, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (_LIMIT, _query("after", _CURSOR, "`next` of the previous page, or a `cursor`.")),
    ),
    ("get", "/api/ids"): Operation(
        "Ids of executions that begin with some characters.",
        {200: open_models.Ids, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (_query("prefix", _TEXT, "How they begin."), _LIMIT),
    ),
    ("get", "/api/waiting"): Operation(
        "What open executions wait for.",
        {200: open_models.Waiting, 503: models.ProblemDetails},
    ),
    ("get", "/api/reports"): Operation(
        "Reports that Keptn has not acknowledged.",
        {200: open_models.Reports, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (_LIMIT,),
    ),
    ("get", "/api/actions"): Operation("The actions, on or off.", {200: models.Actions}),
    ("get", "/api/pause"): Operation(
        "Whether actions are paused.", {200: models.Pause, 503: models.ProblemDetails}
    ),
    ("post", "/api/executions/{id}/approve"): Operation(
        "Approve an execution that is waiting for approval.",
        {200: models.ExecutionDetail, **_EXECUTION_ERRORS},
        (_ID,),
        models.AnswerOrder,
    ),
    ("post", "/api/executions/{id}/deny"): Operation(
        "Deny an execution that is waiting for approval.",
        {200: models.ExecutionDetail, **_EXECUTION_ERRORS},
        (_ID,),
        models.AnswerOrder,
    ),
    ("post", "/api/executions/{id}/undo"): Operation(
        "Undo a finished execution. Its `undo.state` shows the progress.",
        {202: models.ExecutionDetail, **_EXECUTION_ERRORS},
        (_ID,),
        models.Order,
    ),
    ("post", "/api/pause"): Operation(
        "Pause: refuse every action until resumed.",
        {200: models.Pause, **_ORDER_ERRORS},
        order=models.PauseOrder,
    ),
    ("post", "/api/resume"): Operation(
        "End the pause; 409 while the pause file still pauses.",
        {200: models.Pause, 409: models.ProblemDetails, **_ORDER_ERRORS},
        order=models.Order,
    ),
    ("post", "/api/targets/resume"): Operation(
        "End the suspension of a target, or of all targets.",
        {200: open_models.Resumed, **_ORDER_ERRORS},
        order=models.TargetsOrder,
    ),
    ("post", "/api/reports/resend"): Operation(
        "Send parked reports again: those of an execution, or all.",
        {200: open_models.Resent, **_ORDER_ERRORS},
        order=models.ResendOrder,
    ),
}
EPISODE_OPERATIONS = {
    ("get", "/api/episodes"): Operation(
        "Problems that came without Keptn, newest first.",
        {200: EpisodesPage, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (
            _query("state", {"type": "string", "enum": ["open", "closed"]}, "Only those."),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
                "The most episodes in one page.",
            ),
            _query(
                "before",
                {"type": "integer", "minimum": 1, "maximum": 2**53},
                "`next` of the previous page.",
            ),
        ),
    ),
    ("get", "/api/episodes/{id}"): Operation(
        "One such problem, with what was tried and the judge's verdicts.",
        {200: EpisodeDetail, 404: models.ProblemDetails, 503: models.ProblemDetails},
        (_ID,),
    ),
    ("get", "/api/ignored-alerts"): Operation(
        "Alerts that opened no episode, and why, newest first.",
        {200: IgnoredPage, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (_LIMIT | {"schema": _LIMIT["schema"] | {"maximum": MOST_IGNORED}},),
    ),
    ("get", "/api/scores"): Operation(
        "What remedies were worth, by service and action.",
        {200: Scores, 400: models.ProblemDetails, 503: models.ProblemDetails},
        (
            _query(
                "days",
                {"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": USUAL_DAYS},
                "Of the tries of so many days.",
            ),
        ),
    ),
}
"""Offered in standalone mode alone."""
_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After"}


def document(version: str, *, orders: bool, episodes: bool = False) -> dict[str, Any]:
    """The OpenAPI 3.1 document, with or without the orders and the episodes."""
    offered = {key: o for key, o in OPERATIONS.items() if orders or not o.order}
    if episodes:
        offered |= EPISODE_OPERATIONS
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in offered.items():
        paths.setdefault(path, {})[method] = _operation(method, path, operation)
    components: dict[str, Any] = {"schemas": _schemas(list(offered.values()))}
    if orders:
        components["securitySchemes"] = {"operator": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "keptn-remedy", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": components,
    }


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    answers = {model for operation in operations for model in operation.answers.values()}
    bodies = {operation.order for operation in operations if operation.order}
    by_name = sorted(answers | bodies, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation" if model in bodies else "serialization") for model in by_name],
        ref_template=REF,
    )
    found: dict[str, Any] = schemas["$defs"]
    return found


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    name = path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    described: dict[str, Any] = {
        "operationId": name if method == "get" else f"{method}_{name}",
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {str(s): _answer(s, m) for s, m in operation.answers.items()},
    }
    if operation.order:
        described["requestBody"] = {"required": True, "content": _json_of(operation.order)}
        described["security"] = [{"operator": []}]
    return described


def _answer(status: int, model: type[BaseModel]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": (model.__doc__ or "").strip(),
        "content": _json_of(model),
    }
    if status in _HEADERS:
        answer["headers"] = {_HEADERS[status]: {"required": True, "schema": {"type": "string"}}}
    return answer


def _json_of(model: type[BaseModel]) -> dict[str, Any]:
    media_type = (
        "application/problem+json" if model is models.ProblemDetails else "application/json"
    )
    return {media_type: {"schema": {"$ref": REF.format(model=model.__name__)}}}
