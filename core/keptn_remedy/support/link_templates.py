"""Templates of addresses on other sites, and what fills them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

FIELDS = ("project", "stage", "service", "action", "context", "id")
_FIELD = re.compile(r"\{(\w*)\}")


def mistake(template: str) -> str | None:
    """What is wrong with a template; None if nothing is."""
    unknown = [name for name in _FIELD.findall(template) if name not in FIELDS]
    if unknown:
        return f"{{{unknown[0]}}} is none of {', '.join(f'{{{name}}}' for name in FIELDS)}"
    if not _is_web(_FIELD.sub("x", template)) or _FIELD.search(host(template)):
        return "must begin with https:// or http:// and a host that is no field"
    return None


def filled(template: str, values: Mapping[str, str]) -> str:
    """The address. What is filled in is escaped: it leads nowhere but to the template's host."""
    return _FIELD.sub(lambda field: quote(values[field[1]], safe=""), template)


def host(url: str) -> str:
    """Host and port of an address; empty where it has none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname)
