"""What the definition of a flag in a flagd file means, and how it is switched and restored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from keptn_remedy import PermanentError
from keptn_remedy_actions.flag_backends import (
    LeftAlone,
    Switch,
    Wish,
    near,
    on_or_off,
    percentage,
    share,
    variant,
)

FIELDS = ("state", "defaultVariant", "targeting")
"""What decides how a flag evaluates: only these fields are written and restored."""

Definition = dict[str, Any]

_WORDS = {True: ("on", "true", "yes", "enabled"), False: ("off", "false", "no", "disabled")}
_STATES = ("ENABLED", "DISABLED")


def has_map(value: Any, name: str) -> TypeGuard[Definition]:
    """Whether the value is a map with a map under this name."""
    return isinstance(value, dict) and isinstance(cast("Definition", value).get(name), dict)


def fault(definition: Any) -> str | None:
    """Why readers refuse the whole file because of this flag; None if they don't.

    So does the provider of Python, and the flags of all applications then stay as they were.
    """
    if not has_map(definition, "variants") or not definition["variants"]:
        return "has no variants"
    state = definition.get("state")
    return None if state in _STATES else f"has the state {json.dumps(state)}"


def choice(definition: Definition, wish: Wish) -> str | None:
    """The variant that is wished; None if there is none.

    The one that means on or off is chosen by its value, else by its name.
    """
    variants: Definition = definition["variants"]
    if isinstance(wish, str):
        return wish if wish in variants else None
    by_value = [name for name, value in variants.items() if value is wish]
    default = _default_variant(definition)
    if default in by_value:
        return default
    if by_value:
        return on_or_off(wish) if on_or_off(wish) in by_value else by_value[0]
    if any(isinstance(value, bool) for value in variants.values()):
        return None
    return next((word for word in _WORDS[wish] if word in variants), None)


def enabled(definition: Definition, wish: Wish) -> bool | str:
    """Whether the flag is on for every caller, or in words what else decides.

    Where one variant can mean both, it counts as what is wished. Where a variant is wished by its
    name, the answer is the name of the one that every caller gets.
    """
    if definition.get("state") != "ENABLED":
        return "state DISABLED, left to the callers' defaults"
    if definition.get("targeting"):
        percent = _percent(definition)
        return "decided by targeting" if percent is None else share(percent)
    default = _default_variant(definition)
    if default is None:
        return "no default variant, left to the callers' defaults"
    if isinstance(wish, str) and choice(definition, wish) is None and percentage(wish) is not None:
        wish = True
    for each in (wish, not wish) if isinstance(wish, bool) else ():
        if default == choice(definition, each):
            return each
    return variant(default)


def fields(definition: Definition) -> Definition:
    """The part of the definition that decides how the flag evaluates."""
    return {name: definition[name] for name in FIELDS if name in definition}


def switched(before: Definition, chosen: str) -> Definition:
    """The fields that give every caller this variant."""
    after = {**before, "state": "ENABLED", "defaultVariant": chosen}
    if before.get("targeting"):
        after["targeting"] = {}
    return after


def wished(before: Definition, variants: Definition, wish: Wish) -> Definition | None:
    """The fields that make it so; None where the flag has no variants for that."""
    definition = {"variants": variants, **before}
    chosen = choice(definition, wish)
    if chosen is not None:
        return switched(before, chosen)
    percent = percentage(wish)
    on, off = choice(definition, True), choice(definition, False)
    if percent is None or on is None or off is None:
        return None
    return {**switched(before, off), "targeting": _split(on, off, percent)}


def lack(place: str, name: str, variants: Definition, wish: Wish) -> PermanentError:
    """The error where a flag has no variants for a wish: what it has, and what to do."""
    known = ", ".join(variants)
    if isinstance(wish, str):
        hint = near(wish, variants)
        return PermanentError(f"flag {name} in {place} has no variant {wish}: it has {known}{hint}")
    return PermanentError(
        f"flag {name} in {place} has no variant that is {on_or_off(wish)}: it has"
        f" {known or 'none'}; add one with the value {json.dumps(wish)},"
        f" or one named {on_or_off(wish)}, or ask for one by its name"
    )


def image(definition: Definition, written: Mapping[str, str]) -> str:
    """The before-image: the fields and how they are written, and the names of the variants."""
    # As text: targeting may hold what the journal's JSON can't, such as integers over 64 bits.
    return json.dumps(
        {**fields(definition), "variants": list(definition["variants"]), "written": {**written}}
    )


def fields_of(image: str) -> Definition:
    """The fields in a before-image."""
    return fields(json.loads(image))


def written_of(image: str) -> Mapping[str, str]:
    """How the fields in a before-image were written."""
    written: Mapping[str, str] = json.loads(image).get("written", {})
    return written


def restored(flags: Definition, switch: Switch) -> Definition | None:
    """The fields to put back, those of the before-image; None where they are so already.

    Raises:
        LeftAlone: they aren't as the switch left them.
    """
    definition = flags.get(switch.flag.name)
    if not has_map(definition, "variants"):
        raise LeftAlone("is gone")
    before, now = fields_of(switch.flag.image), fields(definition)
    if now == before:
        return None
    expected = wished(before, definition["variants"], switch.wish)
    if expected is None or _lacks_default(definition, switch.flag.image):
        raise LeftAlone("was given other variants since, so it is left alone")
    if differences := _differences(now, expected):
        raise LeftAlone(f"was changed since ({differences}), so it is left alone")
    return before


def _split(on: str, off: str, percent: int) -> Definition:
    """The rule of flagd that gives one variant to a percentage of callers, by their keys."""
    return {"fractional": [[on, percent], [off, 100 - percent]]}


def _percent(definition: Definition) -> int | None:
    """The percentage of callers that get the variant that is on; None by any other rule."""
    on, off = choice(definition, True), choice(definition, False)
    if on is None or off is None:
        return None
    match definition["targeting"]:
        case {"fractional": [[_, int(percent)], [_, int()]]} if 0 <= percent <= 100 and definition[
            "targeting"
        ] == _split(on, off, percent):
            return percent
        case _:
            return None


def _default_variant(definition: Definition) -> str | None:
    default = definition.get("defaultVariant")
    if isinstance(default, bool):  # flagd reads true as the variant "true"
        return json.dumps(default)
    return default if isinstance(default, str) and default else None


def _lacks_default(definition: Definition, image: str) -> bool:
    """Whether the default variant of the before-image was removed since."""
    before = json.loads(image)
    default = _default_variant(before)
    return default in before.get("variants", ()) and default not in definition["variants"]


def _differences(now: Definition, expected: Definition) -> str:
    """What was found and what was expected, field by field."""
    return ", ".join(
        f"{name} is {_brief(now.get(name))}, and {_brief(expected.get(name))} was expected"
        for name in FIELDS
        if now.get(name) != expected.get(name)
    )


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "a rule" if value else "none"
    return "none" if value is None else str(value)
