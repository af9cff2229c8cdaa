"""What commands find in a folder, and what they say of it."""

from pathlib import Path
from typing import Any

import orjson

from tests.commands import remedy

BUILT_IN = (
    "argocd, drain-node, evict, pause-rollout, resize, restart, rollback, run-job, scale,"
    " toggle-feature, uncordon, wait, webhook"
)
ONE_SECRET = "correct-horse-battery"


LEAKY = """
from pydantic import SecretStr
from keptn_remedy import Action, ActionSettings

class Leaky(Action):
    name = "leaky"

    class Settings(ActionSettings):
        token: SecretStr

    async def run(self, context, value):
        raise RuntimeError(self.settings.token.get_secret_value())
"""


def saved(folder: Path, event: object) -> Path:
    path = folder / "event.json"
    path.write_bytes(orjson.dumps(event))
    return path


def look(folder: Path, *arguments: str) -> str:
    """What `remedy journal` prints in a folder where the service ran with `--local`."""
    said = remedy(folder, "journal", *arguments, REMEDY_JOURNAL="var/local-journal.db")
    assert (said.code, said.err) == (0, "")
    return said.out


def default_variant(path: Path) -> Any:
    flag = next(iter(orjson.loads(path.read_bytes())["flags"].values()))
    return flag["defaultVariant"]
