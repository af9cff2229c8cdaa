"""Links of an execution: its own page, and other sites' by the templates of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from keptn_remedy.journal import Record
from keptn_remedy.support.link_templates import FIELDS, filled


class Link(NamedTuple):
    """Where a link leads, and its words."""

    words: str
    url: str


def links(templates: Mapping[str, str], record: Record) -> list[Link]:
    """The links of an execution; `templates` are by their words."""
    values = {name: str(getattr(record, name)) for name in FIELDS}
    return [Link(words, filled(template, values)) for words, template in templates.items()]
