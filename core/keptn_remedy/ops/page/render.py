"""Templates to HTML. Every value is escaped, and secrets are masked before that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from keptn_remedy.ops.page.pictures import pair
from keptn_remedy.support.masking import Mask

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = files("keptn_remedy.ops.page")
STATIC = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_SHOWN_OF_HASH = 12


class Templates:
    """The templates of the package. They are compiled at their first use, not at start."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._environment: Environment | None = None

    def render(self, template: str, **values: Any) -> str:
        """A template with these values."""
        if self._environment is None:
            self._environment = _environment(self._mask.text)
        return self._environment.get_template(template).render(values)


def _environment(masked: Callable[[str], str]) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def finalize(value: Any) -> Any:
        return masked(value) if type(value) is str else value

    environment = Environment(
        loader=PackageLoader("keptn_remedy.ops.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(iso=_iso, clock=_clock, day=_day)  # pyright: ignore[reportUnknownMemberType]
    environment.globals.update(static=static_address, pair=pair, dom_id=_dom_id)  # pyright: ignore[reportUnknownMemberType]
    return environment


@cache
def static_file(name: str) -> bytes:
    """A file that browsers fetch."""
    return (_HERE / "static" / name).read_bytes()


@cache
def static_address(name: str) -> str:
    """Its address, which changes with its content."""
    return f"/static/{name}?v={sha256(static_file(name)).hexdigest()[:_SHOWN_OF_HASH]}"


def _dom_id(text: str) -> str:
    """A name for an element, whatever the text holds."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:_SHOWN_OF_HASH]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
