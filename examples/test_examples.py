"""The YAML of the examples holds only text: nothing in it turns into a boolean or a number."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from examples.purge_cache.purge_cache import PurgeCache
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from keptn_remedy_actions.toggle_feature import ToggleFeature

HERE = Path(__file__).parent
ACTIONS = {action.name: action for action in (PurgeCache, ToggleFeature, Scale, Rollback, Restart)}


def test_every_scalar_of_what_keptn_reads_is_text() -> None:
    for name in ("remediation.yaml", "shipyard.yaml"):
        text = (HERE / name).read_text()
        as_text = yaml.load(text, yaml.BaseLoader)  # noqa: S506  the loader that makes only text
        assert yaml.safe_load(text) == as_text


def test_every_value_of_the_remediations_suits_its_action() -> None:
    remediations = yaml.safe_load((HERE / "remediation.yaml").read_text())["spec"]["remediations"]
    for action in (action for problem in remediations for action in problem["actionsOnOpen"]):
        expected: Any = ACTIONS[action["action"]].Value
        value = TypeAdapter(expected).validate_python(action.get("value"))
        assert not getattr(value, "foreign", ())
