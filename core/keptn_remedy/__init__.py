"""The author's API of keptn-remedy; everything else is private to the service."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keptn_remedy.action import (
        Action,
        ActionSettings,
        Change,
        Context,
        Denied,
        Finding,
        Later,
        Outcome,
        PermanentError,
        Plan,
        PlannedAction,
        ResourceNotFound,
        Retry,
        TemporaryError,
    )
    from keptn_remedy.support.proxy import proxy_for

__all__ = [
    "Action",
    "ActionSettings",
    "Change",
    "Context",
    "Denied",
    "Finding",
    "Later",
    "Outcome",
    "PermanentError",
    "Plan",
    "PlannedAction",
    "ResourceNotFound",
    "Retry",
    "TemporaryError",
    "proxy_for",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `remedy --help` must not pay for it.
    if name == "proxy_for":
        from keptn_remedy.support import proxy

        return proxy.proxy_for
    if name in __all__:
        from keptn_remedy import action

        return getattr(action, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
