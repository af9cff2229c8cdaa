"""Words the mistakes in a policy: one line each, with the place and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from keptn_remedy.guardrails.values import DAYS
from keptn_remedy.support import validation
from keptn_remedy.support.near_names import near
from keptn_remedy.support.reading import Document, DocumentError

M = TypeVar("M", bound=BaseModel)
Place = tuple[str | int, ...]
Keys = Mapping[tuple[str, ...], frozenset[str]]

_SHOWN = 40
_SIMILAR = 0.5
_BETWEEN = ("to", "till", "until", "through", "and", "or")
_RANGE = re.compile(r"\s*\w+\s*(-|\u2013|\.\.|to|till|until|through)\s*\w+\s*", re.IGNORECASE)
_WORDS = {
    "string_type": "must be text; numbers, true and false need quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


def load(
    text: str,
    model: type[M],
    wrong: Callable[[list[str]], Exception],
    in_words: Callable[[Document, ValidationError], list[str]],
) -> M:
    """Parse the text of a file whose form has a version.

    Raises:
        Exception: what `wrong` makes of its mistakes, one line each.
    """
    try:
        document = Document(text)
    except DocumentError as error:
        raise wrong(error.mistakes) from None
    if not document.is_map:
        raise wrong(["it must be a map that begins with `version: 1`"])
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise wrong(in_words(document, error)) from None


def lines(document: Document, error: ValidationError, keys: Keys) -> list[str]:
    """The mistakes, in the order of the file.

    `keys` are the keys that a map at a path may have.
    """
    return lines_of(document, error.errors(), keys)


def lines_of(document: Document, errors: Sequence[Any], keys: Keys) -> list[str]:
    """As `lines`, for errors as pydantic lists them."""
    errors = _without_echoes(errors)
    found = [(document.line(_place(one)), one) for one in errors]
    found.sort(key=lambda pair: pair[0])
    return [f"line {line}: {_line(document, one, keys)}" for line, one in found]


def _without_echoes(errors: Sequence[Any]) -> list[Any]:
    """Leaves out that a list is too short where its entries have mistakes: pydantic says both."""
    wrong_inside = {error["loc"][:n] for error in errors for n in range(len(error["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in wrong_inside]


def _line(document: Document, error: Any, keys: Keys) -> str:
    place = _place(error)
    if error["type"] == "extra_forbidden":
        return _unknown(document, place, keys)
    if error["type"] == "missing":
        return _placed(_where(document, place[:-1]), f"{place[-1]} is missing")
    return _placed(_where(document, place), _wrong(error))


def _place(error: Any) -> Place:
    """Where it is. A check of several entries names in `below` the one it means."""
    below = error.get("ctx", {}).get("below", ())
    return tuple(part for part in (*error["loc"], *below) if part != "[key]")


def _unknown(document: Document, place: Place, keys: Keys) -> str:
    *around, name = place
    words = tuple(part for part in around if isinstance(part, str))
    known = sorted(keys.get(words, ()))
    hint = near(str(name), known, similar=_SIMILAR) or f"; there are: {', '.join(known)}"
    return _placed(_where(document, around), f"there is no {_shown(name)}{hint}")


def _wrong(error: Any) -> str:
    written = error["input"]
    if written is None:
        return "has no value; give it one, or remove it"
    if error["type"] == "literal_error":
        return _no_choice(error)
    said = _WORDS.get(error["type"]) or validation.in_words(error)
    is_long = isinstance(written, list | dict) or error["type"].endswith(("_short", "_long"))
    is_shown = isinstance(written, str) and repr(written) in said
    return said if is_long or is_shown else f"{said}; it says {_shown(error['input'])}"


def _no_choice(error: Any) -> str:
    written = str(error["input"])
    choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    if not choices:
        return f"must be {error['ctx']['expected']}; it says {_shown(written)}"
    several = _several(written, choices)
    hint = f"; write a list: [{', '.join(several)}]" if several else near(written, choices)
    return f"must be one of {', '.join(choices)}, not {_shown(written)}{hint}"


def _several(written: str, choices: Sequence[str]) -> Sequence[str]:
    """The choices that one text names: `target, stage`, or all days of `mon-fri`."""
    words = re.findall(r"[^\W\d_]+", written.lower())
    named = [_begins(word, choices) for word in words if word not in _BETWEEN]
    if len(named) == 1 or not all(named):
        return ()
    if _RANGE.fullmatch(written) and tuple(choices) == DAYS:
        first, last = map(choices.index, named)
        return [choices[n % len(choices)] for n in range(first, last + 1 + (last < first) * 7)]
    return named


def _begins(word: str, choices: Sequence[str]) -> str:
    """The choice that the word is or begins with, as `monday` does with `mon`."""
    return next((choice for choice in choices if word.startswith(choice)), "")


def _where(document: Document, place: Sequence[str | int]) -> str:
    """A path in words: `rule 'production', at_most 2, within`."""
    words: list[str] = []
    for part in place:
        if isinstance(part, str):
            words.append(part)
        elif words == ["rules"]:
            words = [_rule(document.value["rules"], part)]
        elif words:
            words[-1] += f" {part + 1}"
    return ", ".join(words)


def _rule(rules: Any, index: int) -> str:
    rule = rules[index]
    name = cast("dict[object, object]", rule).get("name") if isinstance(rule, dict) else None
    return f"rule {_shown(name)}" if isinstance(name, str) else f"rule {index + 1}"


def _placed(where: str, said: str) -> str:
    return f"{where}: {said}" if where else said


def _shown(written: object) -> str:
    text = str(written).lower() if isinstance(written, bool) else str(written)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
