"""What tests of notifications share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.secret_file import SecretFile
from keptn_remedy.support.masking import Mask

NOW = 1_790_000_000.0
FACTS = {"project": "sockshop", "stage": "production", "service": "carts", "execution": "e1"}


def notification(**given: Any) -> Notification:
    """One that tells of a failure, but for what is given."""
    usual: dict[str, Any] = {
        "key": "failed e1",
        "kind": "failed",
        "severity": "error",
        "title": "Failed: scale for sockshop/production/carts",
        "text": "no better",
        "facts": FACTS,
        "at": NOW,
        "link": "https://remedy.example/executions/e1",
    }
    return Notification(**usual | given)


def secret(folder: Path, text: str, mask: Mask | None = None) -> SecretFile:
    """A file with a secret."""
    path = folder / "secret"
    path.write_text(f"{text}\n")
    return SecretFile(path, mask or Mask())
