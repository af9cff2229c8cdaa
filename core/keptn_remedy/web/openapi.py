"""`/openapi.json`, made from the models and one table of paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from keptn_remedy.web import models

REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One GET: what it is for, its parameters, and the model of each status."""

    summary: str
    answers: dict[int, type[BaseModel]]
    parameters: tuple[dict[str, Any], ...] = ()


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_STATES = {"type": "string", "enum": ["accepted", "started", "finished"]}
OPERATIONS = {
    "/healthz": Operation("Liveness.", {200: models.Health}),
    "/readyz": Operation("Readiness.", {200: models.Readiness, 503: models.Readiness}),
    "/api/executions": Operation(
        "Executions, newest first.",
        {200: models.Executions, 400: models.Problem, 503: models.Problem},
        (
            _query("state", _STATES, "Only those in this state."),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
                "How many at most.",
            ),
            _query(
                "before",
                {"type": "integer", "minimum": 0, "maximum": 2**53},
                "`next` of the page before.",
            ),
        ),
    ),
    "/api/executions/{id}": Operation(
        "One execution.",
        {200: models.ExecutionDetail, 404: models.Problem, 503: models.Problem},
        (_ID,),
    ),
    "/api/actions": Operation("The actions, on or off.", {200: models.Actions}),
}


def document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    used = {model for operation in OPERATIONS.values() for model in operation.answers.values()}
    _, schemas = models_json_schema(
        [(model, "serialization") for model in sorted(used, key=lambda model: model.__name__)],
        ref_template=REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "keptn-remedy", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": {path: {"get": _operation(path, o)} for path, o in OPERATIONS.items()},
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    return {
        "operationId": path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {str(s): _answer(s, m) for s, m in operation.answers.items()},
    }


def _answer(status: int, model: type[BaseModel]) -> dict[str, Any]:
    media_type = "application/problem+json" if model is models.Problem else "application/json"
    return {
        "description": (model.__doc__ or "").strip(),
        "content": {media_type: {"schema": {"$ref": REF.format(model=model.__name__)}}},
    }
