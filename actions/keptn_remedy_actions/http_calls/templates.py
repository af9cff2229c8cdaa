"""Templates over the trigger: expressions of Jinja2's sandbox, and references to secrets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import orjson
from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    nodes,
)
from jinja2.runtime import Context as Variables
from jinja2.runtime import new_context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from keptn_remedy import PermanentError

MOST_CHARACTERS = 64 * 1024
MOST_TERMS, MOST_JOINED, MOST_NESTED = 1_000, 20, 16
"""How many names, filters, numbers and texts the expressions of one call may have, how many texts
one template may join, and how many filters and operators may follow one another."""
MOST_RENDERED = 1024 * 1024
SECRET = "secret"  # noqa: S105  the name of the variable
# Nothing here loops or calls. What makes a text longer is bounded: filters, and `~`.
_NODES: tuple[type[nodes.Node], ...] = (
    nodes.And,
    nodes.Compare,
    nodes.Concat,
    nodes.CondExpr,
    nodes.Const,
    nodes.Filter,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Name,
    nodes.Neg,
    nodes.Not,
    nodes.Operand,
    nodes.Or,
    nodes.Output,
    nodes.Template,
    nodes.TemplateData,
    nodes.Test,
)
_TOO_MANY = f"the expressions have more than {MOST_TERMS:,} names, filters and texts"
_TESTS = frozenset({"defined", "undefined", "none", "string", "number", "mapping"})
_FILTERS = frozenset(
    [
        "b64encode",
        "capitalize",
        "d",
        "default",
        "first",
        "int",
        "last",
        "length",
        "lower",
        "string",
        "title",
        "tojson",
        "trim",
        "upper",
        "urlencode",
    ]
)


class _Environment(ImmutableSandboxedEnvironment):
    """Reads entries of maps and lists only, never attributes: `data.values` is what was sent."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str):
            entries = cast("Mapping[str, Any]", obj)
            if argument in entries:
                return entries[argument]
        if isinstance(obj, list) and isinstance(argument, int):
            items = cast("Sequence[Any]", obj)
            if -len(items) <= argument < len(items):
                return items[argument]
        return self.undefined(obj=obj, name=str(argument))


def variables(known: dict[str, Any]) -> Variables:
    """What the templates of one call read: made once, as most of the time for a text went there.
    None of them defines anything, so that they can share it.
    """
    return new_context(_ENVIRONMENT, None, {}, known, shared=True, globals={})


def _shown(value: Any) -> Any:
    """As JSON writes it, except texts; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool | Mapping | list):
        return _as_json(value)
    return value


def _as_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _bounded(made: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same filter, unless it makes too long a text: one after the other may double it."""

    def filtered(value: Any) -> str:
        if len(text := made(value)) > MOST_RENDERED:
            raise ValueError("the text becomes too long")
        return text

    return filtered


def _in_base64(value: Any) -> str:
    return base64.b64encode(str(value).encode()).decode()


def _environment() -> _Environment:
    made = _Environment(
        undefined=StrictUndefined, finalize=_shown, keep_trailing_newline=True, autoescape=False
    )
    filters = cast("dict[str, Callable[[Any], str]]", made.filters)  # pyright: ignore[reportUnknownMemberType]
    filters["tojson"] = _bounded(_as_json)
    filters["b64encode"] = _bounded(_in_base64)
    filters["urlencode"] = _bounded(filters["urlencode"])
    return made


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template that was read, and the names of the secrets that it refers to."""

    text: str
    secrets: frozenset[str]
    template: Template | None
    """None where nothing is to be replaced."""
    terms: int = 0
    """How many names, filters, numbers and texts its expressions have."""

    def render(self, context: Variables) -> str:
        """The text with its expressions replaced; `secret` is one of the variables.

        Raises:
            PermanentError: the event lacks what an expression needs, or it can't be computed.
        """
        if self.template is None:
            return self.text
        try:
            return _joined(self.template.root_render_func(context))
        except UndefinedError as error:
            raise PermanentError(f"{_excerpt(self.text)}: {error.message}") from None
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise PermanentError(f"{_excerpt(self.text)}: {type(error).__name__}") from None


@lru_cache(maxsize=128)
def compiled(text: str) -> Compiled:
    """The template, checked.

    Raises:
        ValueError: it is too long, no template, or more than expressions.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a template has at most {MOST_CHARACTERS:,} characters")
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return Compiled(text, frozenset(), None)
    try:
        tree = _ENVIRONMENT.parse(text)
        _check_nesting(tree, MOST_NESTED + 3)  # the template, its output, and what is read
        secrets = _checked(tree)
        terms = _terms(tree)
        return Compiled(text, secrets, _ENVIRONMENT.from_string(tree), terms)
    except TemplateSyntaxError as error:
        raise ValueError(f"{_excerpt(text)} is not a template: {error.message}") from None
    except RecursionError:
        raise ValueError(f"{_excerpt(text)} is nested too deeply") from None


def check_terms(texts: Iterable[str]) -> None:
    """Read templates that are used together.

    Raises:
        ValueError: one of them is invalid, or together they have too many expressions.
    """
    terms = 0
    for text in texts:
        terms += compiled(text).terms
        if terms > MOST_TERMS:
            raise ValueError(_TOO_MANY)


def literal(text: str) -> str:
    """The text as a template that renders to it."""
    return (
        text.replace("{", "{{ '{' }}") if any(mark in text for mark in ("{{", "{%", "{#")) else text
    )


def entry(path: str) -> str:
    """The expression that reads a path such as `data.project` of the event."""
    first, *rest = path.split(".")
    return "{{ " + first + "".join(f"[{_as_json(part)}]" for part in rest) + " }}"


def _joined(parts: Iterable[str]) -> str:
    found, length = list[str](), 0
    for part in parts:
        found.append(part)
        length += len(part)
        if length > MOST_RENDERED:
            raise PermanentError(f"a template renders to more than {MOST_RENDERED:,} characters")
    return "".join(found)


def _check_nesting(node: nodes.Node, left: int) -> None:
    """The time that Jinja2 takes to compile an expression grows fast with its depth.

    Raises:
        ValueError: it is nested more than `left` deep.
    """
    if not left:
        raise ValueError(f"an expression has at most {MOST_NESTED} filters and operators in a row")
    for child in node.iter_child_nodes():
        _check_nesting(child, left - 1)


def _terms(tree: nodes.Template) -> int:
    """How many names, filters, numbers and texts the expressions have.

    Raises:
        ValueError: too many.
    """
    terms = sum(1 for _ in tree.find_all((nodes.Name, nodes.Filter, nodes.Const)))
    joined = sum(len(each.nodes) for each in tree.find_all(nodes.Concat))
    if terms > MOST_TERMS or joined > MOST_JOINED:
        raise ValueError(_TOO_MANY if terms > MOST_TERMS else f"`~` joins at most {MOST_JOINED}")
    return terms


def _checked(tree: nodes.Template) -> frozenset[str]:
    """The secrets that the template refers to.

    Raises:
        ValueError: it holds more than expressions.
    """
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES):
            raise ValueError(  # noqa: TRY004  it is a value's text that is wrong
                f"templates hold expressions only, no {type(node).__name__}"
            )
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise ValueError(
                f"there is no filter {node.name!r}; there are {', '.join(sorted(_FILTERS))}"
            )
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            raise ValueError(f"there is no test {node.name!r}")
    named = [_secret_of(node) for node in tree.find_all((nodes.Getattr, nodes.Getitem))]
    secrets = [name for name in named if name]
    if len(secrets) < sum(node.name == SECRET for node in tree.find_all(nodes.Name)):
        raise ValueError("a secret is named in the template itself: {{ secret.name }}")
    return frozenset(secrets)


def _secret_of(node: nodes.Node) -> str | None:
    """The name of the secret that the node reads, if it reads one."""
    reads = getattr(node, "node", None)
    if not isinstance(reads, nodes.Name) or reads.name != SECRET:
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = getattr(node, "arg", None)
    return key.value if isinstance(key, nodes.Const) and isinstance(key.value, str) else None


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
