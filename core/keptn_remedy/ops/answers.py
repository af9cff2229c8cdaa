"""Responses of the ops port: models as JSON, errors as problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web
from pydantic import BaseModel

from keptn_remedy.journal import JournalError
from keptn_remedy.ops import models
from keptn_remedy.support.masking import Mask

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpError(Exception):
    """Answered as a problem with this status and title."""

    def __init__(self, status: int, title: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.problem = models.ProblemDetails(title=title, status=status)
        self.headers = headers or {}


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as a problem document."""
    try:
        return await handler(request)
    except HttpError as error:
        return _problem(error.problem, error.headers)
    except JournalError:
        return _problem(models.ProblemDetails(title="the journal can't be read", status=503))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(
            models.ProblemDetails(title=error.reason, status=error.status), _headers(error)
        )


def json_answer(
    model: BaseModel,
    mask: Mask | None = None,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A model as JSON; `mask` hides the secrets in it."""
    content = model.model_dump()
    # pydantic's own JSON writer fails at fewer levels than an event may have.
    body = orjson.dumps(mask.value(content) if mask else content) + b"\n"
    return web.Response(status=status, body=body, content_type=content_type, headers=headers)


def problem(status: int, title: str) -> web.Response:
    """An error that met no handler."""
    return _problem(models.ProblemDetails(title=title, status=status))


def _headers(error: web.HTTPException) -> dict[str, str]:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return {"Allow": ", ".join(sorted(error.allowed_methods))}
    return {}


def _problem(
    problem: models.ProblemDetails, headers: Mapping[str, str] | None = None
) -> web.Response:
    return json_answer(
        problem, status=problem.status, content_type="application/problem+json", headers=headers
    )
