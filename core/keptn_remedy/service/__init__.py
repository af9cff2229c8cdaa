"""The service: its parts put together, served until a signal, or used for a single trigger."""

from keptn_remedy.service.foundation import installed_version
from keptn_remedy.service.once import run_once, undo_once
from keptn_remedy.service.provider import Service
from keptn_remedy.service.serving import serve
from keptn_remedy.service.wiring import running

__all__ = [
    "Service",
    "installed_version",
    "run_once",
    "running",
    "serve",
    "undo_once",
]
