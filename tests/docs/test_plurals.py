"""No message says `1 pods`: a number before a noun in a text goes through `counted`."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOUNS = (
    "pods|replicas|nodes|strategies|flags|executions|reports|events|problems|cases|messages"
    "|requests|attempts|targets|alerts|days"
)
NUMBER = r"\{[^{}]+\}"
COUNTED = re.compile(rf"{NUMBER}(?: of {NUMBER})?(?: other| available)? (?:{NOUNS})\b")
# Constants above 1, and numbers of which the code says one otherwise.
NEVER_ONE = {
    "{MAX_NODES} nodes",
    "{MOST_ASKING} requests",
    "{len(added)} strategies",
    "{len(pods)} pods",
    "{number} alerts",
    "{self.count} attempts",
    "{value.pods} pods",
    "{began} problems",
    "{report.attempts} attempts",
    "{running} executions",
    "{content.executions} executions",
    "{count} reports",
    "{count} targets",
}


def test_a_number_before_a_noun_is_counted() -> None:
    texts = [
        path.read_text("utf-8")
        for package in ("core", "actions")
        for path in (ROOT / package).rglob("*.py")
    ]
    found = {each for text in texts for each in COUNTED.findall(text)}
    assert found - NEVER_ONE == set()
    assert NEVER_ONE - found == set()
