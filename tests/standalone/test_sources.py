"""sources.yaml: its mistakes in words, with lines and the names that were meant; and its schema."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from keptn_remedy.http_client import lent_session
from keptn_remedy.standalone.configuration import Configuration
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.standalone.sources import SourcesFile, json_schema
from keptn_remedy.support.clock import Clock

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples/sources.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("kind: alertmanager", "kind: alertmanger", "line 7: sources, alerts, kind: must be"),
        ("    allow:", "    alow:", "there is no 'alow'; did you mean allow?"),
        ("  act_after: 30s", "  act_after: soon", "line 23: ladder, act_after: must be a duration"),
        ("version: 1", "version: 2", "line 3: version: must be 1; it says '2'"),
        ("url: http://prometheus:9090", "url: prometheus", "prometheus, url: must be a URL"),
        ("{label: env}", "{}", "sources, alerts, stage: needs a label, labels or a default"),
        ("  alerts: #", "  Alerts: #", "line 6: sources, Alerts: a source is called by lower case"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_meant(
    old: str, new: str, mistake: str
) -> None:
    assert old in EXAMPLE
    with pytest.raises(SourcesError) as told:
        SourcesFile.load(EXAMPLE.replace(old, new, 1))
    assert mistake in "\n".join(told.value.mistakes)


def test_a_source_says_whom_to_ask_or_that_nobody_is_asked() -> None:
    asked = EXAMPLE[: EXAMPLE.index("    alertmanagers:")] + "\nladder: {}\n"
    with pytest.raises(SourcesError, match="alertmanagers is missing; confirm: off"):
        SourcesFile.load(asked)
    SourcesFile.load(asked.replace("\nladder", "    confirm: off\nladder"))


def test_the_example_fits_the_schema_and_is_read() -> None:
    schema = orjson.loads(orjson.dumps(json_schema()))
    Draft202012Validator(schema).validate(yaml.safe_load(EXAMPLE))
    rules = SourcesFile.load(EXAMPLE).ladder.rules()
    assert (rules.act_after, rules.wait, rules.quiet_for) == (30, 300, 300)


@pytest.mark.parametrize(
    ("secret", "why"), [(None, "there is no such file"), ("short", "must hold 16 to 4096")]
)
async def test_without_a_secret_nothing_is_listened_to(
    tmp_path: Path, secret: str | None, why: str
) -> None:
    path = tmp_path / "secret"
    if secret:
        path.write_text(secret)
    file = tmp_path / "sources.yaml"
    file.write_text(EXAMPLE.replace("/etc/remedy/alerts-secret", str(path)))
    async with lent_session() as http:
        with pytest.raises(SourcesError, match=f"sources, alerts, secret_file: .*{why}"):
            await Configuration(file, http, Clock()).begin()
